"""Drawn pictures: each has its own place, and nothing of a person's is overwritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.predict import check_targets, drawn_path, write_drawn
from runtime_bench.artifact.preprocess import read_picture
from runtime_bench.errors import EdgeError, UsageError


def save(path: Path) -> Path:
    """Save a small black picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 32)).save(path)
    return path


def test_a_missing_picture_is_named_before_any_work(tmp_path: Path) -> None:
    """One of several that is not there ends it."""
    good = save(tmp_path / "a.png")

    with pytest.raises(EdgeError, match=r"gone\.png: no such picture"):
        check_targets((good, tmp_path / "gone.png"), tmp_path / "out", json_path=None)


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    """The second would overwrite the first."""
    pictures = (save(tmp_path / "x" / "a.png"), save(tmp_path / "y" / "a.jpg"))

    with pytest.raises(UsageError, match=r"would both be drawn as a\.boxes\.png"):
        check_targets(pictures, tmp_path / "out", json_path=None)


def test_a_picture_is_never_overwritten(tmp_path: Path) -> None:
    """A drawn picture that is itself an input, reached by any path, stays as it is."""
    pictures = (save(tmp_path / "a.png"), save(tmp_path / "a.boxes.png"))

    with pytest.raises(UsageError, match="is a picture to read"):
        check_targets(pictures, tmp_path / "x" / "..", json_path=None)


def test_the_json_is_not_written_over_a_picture(tmp_path: Path) -> None:
    """--json that names an input is refused."""
    picture = save(tmp_path / "a.png")

    with pytest.raises(UsageError, match="choose another file with --json"):
        check_targets((picture,), tmp_path / "out", json_path=picture)


def test_the_boxes_are_drawn_into_a_copy(tmp_path: Path) -> None:
    """The copy has the size of the picture and colour at the edge of the box."""
    picture = save(tmp_path / "a.png")
    found = Detections(np.array([[10, 12, 50, 28]]), np.array([0.9]), np.array([0]))
    target = drawn_path(picture, tmp_path / "out")

    write_drawn(picture, target, found, names=("thing",))

    assert target == tmp_path / "out" / "a.boxes.png"
    drawn = read_picture(target)
    assert drawn.shape == (32, 64, 3)
    assert drawn[28, 30].max() > 100
    assert read_picture(picture).max() == 0
