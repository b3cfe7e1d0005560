"""The file of predictions: what goes in comes out, a cut line is dropped, lies are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.accuracy.prediction_log import PredictionLog, read_predictions
from runtime_bench.artifact.detections import NO_DETECTIONS, Detections
from runtime_bench.errors import EdgeError, UsageError

NAMES = ("disc", "square")
FOUND = Detections(
    np.array([[1.1, 2.2, 3.3, 4.4], [5, 6, 7, 8]], np.float32),
    np.array([0.1, 0.9], np.float32),
    np.array([1, 0]),
)
HEAD: dict[str, Any] = {
    "format": "xprune-edge predictions log",
    "version": 1,
    "sha256": "0" * 64,
    "source": "d.json",
    "names": list(NAMES),
}
ENTRY: dict[str, Any] = {
    "picture": "a.png",
    "boxes": [[1, 2, 3, 4]],
    "scores": [0.5],
    "labels": [0],
}


def open_log(path: Path, *, sha256: str = "0" * 64, source: str = "d.json") -> PredictionLog:
    """Open a log of a model with two classes."""
    return PredictionLog(path, names=NAMES, sha256=sha256, source=source)


def write_lines(path: Path, *entries: dict[str, Any]) -> Path:
    """Write a file of these lines."""
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_what_was_found_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    """float32 survives being written as text."""
    with open_log(tmp_path / "new" / "found.jsonl") as log:
        log.add("a.png", FOUND)
        log.add("b\u2028\n.png", NO_DETECTIONS)

    read = read_predictions(tmp_path / "new" / "found.jsonl")

    assert (read.names, read.sha256, read.source) == (NAMES, "0" * 64, "d.json")
    assert list(read.found) == ["a.png", "b\u2028\n.png"]
    np.testing.assert_array_equal(read.found["a.png"].boxes, FOUND.boxes)
    np.testing.assert_array_equal(read.found["a.png"].scores, FOUND.scores)
    np.testing.assert_array_equal(read.found["a.png"].labels, FOUND.labels)
    assert len(read.found["b\u2028\n.png"]) == 0


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_was_cut_off_is_predicted_again(tmp_path: Path, cut: int) -> None:
    """After a power cut the whole lines stay, and more are added behind them."""
    path = tmp_path / "found.jsonl"
    with open_log(path) as log:
        log.add("a.png", FOUND)
        log.add("b.png", FOUND)
    path.write_bytes(path.read_bytes()[:-cut])

    with open_log(path) as log:
        assert list(log.found) == ["a.png"]
        log.add("b.png", NO_DETECTIONS)

    read = read_predictions(path)
    assert list(read.found) == ["a.png", "b.png"]
    assert len(read.found["b.png"]) == 0


@pytest.mark.parametrize("kept", [0, 20])
def test_a_head_that_was_cut_off_begins_anew(tmp_path: Path, kept: int) -> None:
    """Nothing is lost that was there: nothing was."""
    path = tmp_path / "found.jsonl"
    path.write_bytes(json.dumps(HEAD).encode()[:kept])
    with pytest.raises(EdgeError, match="holds no predictions"):
        read_predictions(path)


@pytest.mark.parametrize("change", [{"sha256": "1" * 64}, {"source": "e.json"}])
def test_another_model_or_other_data_is_not_mixed_in(
    tmp_path: Path, change: dict[str, str]
) -> None:
    """The file stays as it is."""
    path = write_lines(tmp_path / "found.jsonl", HEAD, ENTRY)
    before = path.read_bytes()

    with pytest.raises(UsageError, match="another model or of other data"):
        open_log(path, **change)

    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": [[1, 2, 3]]}, "no numbers"),
        ({"boxes": "x"}, "no numbers"),
        ({"boxes": [[1, 2, 3, 4]] * 2}, "as many as scores"),
        ({"boxes": [[1, 2, 3, float("nan")]]}, "numbers of pixels"),
        ({"boxes": [[1, 2, 3, 1e300]]}, "numbers of pixels"),
        ({"scores": [1.5]}, "from 0 to 1"),
        ({"labels": [2]}, "labels must be from 0 to 1"),
        ({"labels": [10**30]}, "no numbers"),
        ({"picture": 5}, "picture must be a text"),
        ({"more": 5}, "unknown key"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_wrong_line_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """The error names the file and what is wrong."""
    path = write_lines(tmp_path / "found.jsonl", HEAD, {**ENTRY, **change})

    with pytest.raises(EdgeError, match=message) as caught:
        read_predictions(path)

    assert str(caught.value).startswith(f"'{path}'")


@given(st.binary(max_size=200))
def test_no_file_crashes_it(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever the file holds, the answer is predictions or an EdgeError."""
    path = tmp_path_factory.mktemp("any") / "found.jsonl"
    path.write_bytes(json.dumps(HEAD).encode() + b"\n" + content)

    try:
        assert read_predictions(path).names == NAMES
    except EdgeError as error:
        assert str(error)  # noqa: PT017 (both answers are good ones)
