"""What timed runs see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.opened import open_artifact
from runtime_bench.files import sha256_of
from runtime_bench.timing.inputs import TimedOn, choose_inputs, inputs_of, timed_inputs


def test_images_in_memory_are_few(tmp_path: Path) -> None:
    """At most 50 pictures, and at most 64 MiB of them; always one."""
    picture = tmp_path / "red.png"
    Image.new("RGB", (96, 48), "red").save(picture)
    paths = [picture] * 60

    assert len(timed_inputs(paths, InputSpec(size=(32, 64)))) == 50
    assert len(timed_inputs(paths, InputSpec(size=(1024, 1024)))) == 5
    assert timed_inputs(paths, InputSpec(size=(32, 64)))[0].shape == (1, 3, 32, 64)


def test_without_pictures_one_is_made_up() -> None:
    """It is grey on the left, and its right half makes a detector work."""
    (image,) = timed_inputs([], InputSpec(size=(32, 64)))

    assert (image.shape, image.dtype) == ((1, 3, 32, 64), np.float32)
    assert np.ptp(image[..., :32]) == 0
    assert np.ptp(image[..., 32:]) > 0.9


def test_pictures_that_came_along_are_lent(artifact: str, with_pictures: Path) -> None:
    """What is given goes first, then what one of them has, then what is made up."""
    plain, stored = open_artifact(Path(artifact)), open_artifact(with_pictures)
    given = with_pictures / "picture_2.jpg"

    seen = choose_inputs([plain, stored], [])

    assert seen.kind == "stored pictures"
    assert seen.pictures == tuple(with_pictures / f"picture_{n}.jpg" for n in (1, 2))
    assert seen.sha256 == tuple(map(sha256_of, seen.pictures))
    assert [feed.shape for feed in inputs_of(plain, seen.pictures)] == [(1, 3, 32, 64)] * 2
    assert choose_inputs([plain, stored], [given]) == TimedOn("pictures", (given,))
    assert choose_inputs([plain], []) == TimedOn("grey and noise")
