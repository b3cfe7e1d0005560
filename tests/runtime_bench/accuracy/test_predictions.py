"""Accuracy from the shipped file: pictures in as it wants them, boxes out in their pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from runtime_bench.accuracy.predictions import detect_all, evaluate_artifact
from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import FileEntry, Manifest, OutputSpec
from runtime_bench.data.dataset import Dataset, Picture
from runtime_bench.data.pictures import BoxList
from runtime_bench.errors import EdgeError

# The tiny artifact answers with this box in pixels of its 32 x 64 input.
BOX = np.array([[8, 4, 24, 20]], np.float32)


@pytest.fixture
def artifact(repository: Path) -> Path:
    """A detector that always finds one "square", with the mean of red as its score."""
    return repository / "tests" / "data" / "tiny_artifact"


def red_picture(folder: Path, name: str, *, size: tuple[int, int], red: int = 200) -> Picture:
    """Save a picture of one colour, labelled with a box that fills half of it."""
    height, width = size
    Image.new("RGB", (width, height), (red, 0, 0)).save(folder / name)
    box = np.array([[0, 0, width / 2, height]], np.float32)
    return Picture(name, folder / name, size, box, np.array([0]), np.array([False]))


def manifest_of(output: OutputSpec) -> Manifest:
    """Return the manifest of a model with a 32 x 64 input and two classes."""
    return Manifest(
        model_name="m",
        family="f",
        licence="l",
        names=("disc", "square"),
        stride=32,
        input=InputSpec(size=(32, 64)),
        output=output,
        files={"model.onnx": FileEntry("0" * 64, 1)},
    )


def test_the_artifact_is_scored_on_boxes_in_pixels_of_the_picture(
    artifact: Path, tmp_path: Path
) -> None:
    """A picture of twice the input's size has its boxes at twice the place: AP 1."""
    picture = red_picture(tmp_path, "a.png", size=(64, 128))
    truth = Picture("a.png", picture.path, (64, 128), BOX * 2, np.array([1]), np.array([False]))
    dataset = Dataset("made-up", ("other", "square"), (truth,), True)

    scored = evaluate_artifact(artifact, dataset, progress=False)

    assert scored.ap == pytest.approx(1.0)
    assert scored.ap_by_class == pytest.approx({"square": 1.0})


def test_a_class_that_the_artifact_lacks_is_an_error(artifact: Path, tmp_path: Path) -> None:
    """Scoring a class that cannot be found would only look like a bad model."""
    dataset = Dataset(
        "made-up", ("cat",), (red_picture(tmp_path, "a.png", size=(32, 64)),), True
    )

    with pytest.raises(EdgeError, match="class 'cat'"):
        evaluate_artifact(artifact, dataset, progress=False)


def test_a_raw_output_goes_through_the_decoder(tmp_path: Path) -> None:
    """The manifest's decoder turns centres into corners; the padding is taken off."""
    picture = red_picture(tmp_path, "a.png", size=(32, 32))
    raw = np.array([[[32], [16], [8], [8], [0.2], [0.9]]], np.float32)
    manifest = manifest_of(OutputSpec(kind="raw", names=("output0",), decoder="yolo"))

    found = detect_all(lambda image: {"output0": raw}, manifest, [picture], progress=False)[0]

    assert found.labels.tolist() == [1, 0]
    np.testing.assert_allclose(found.boxes[0], [12, 12, 20, 20])
    np.testing.assert_allclose(found.scores, [0.9, 0.2], rtol=1e-6)


def test_the_model_sees_the_letterboxed_picture(tmp_path: Path) -> None:
    """One image at a time, (1, 3, 32, 64) float32, red first, grey at both sides."""
    picture = red_picture(tmp_path, "a.png", size=(32, 32))
    seen: list[npt.NDArray[np.float32]] = []

    def run(image: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.generic]]:
        seen.append(image)
        return {
            "boxes": np.empty((0, 4), np.float32),
            "scores": np.empty(0, np.float32),
            "labels": np.empty(0, np.int64),
        }

    found = detect_all(run, manifest_of(OutputSpec()), [picture], progress=False)

    assert [len(detections) for detections in found] == [0]
    assert seen[0].shape == (1, 3, 32, 64)
    np.testing.assert_allclose(seen[0][0, :, 0, 0], 114 / 255, rtol=1e-6)
    np.testing.assert_allclose(seen[0][0, :, 16, 32], [200 / 255, 0, 0], rtol=1e-6)


def test_an_answer_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    """A model broken by surgery answers NaN; that is not an AP of 0."""
    picture = red_picture(tmp_path, "a.png", size=(32, 64))
    answer: dict[str, npt.NDArray[np.generic]] = {
        "boxes": BOX,
        "scores": np.array([np.nan], np.float32),
        "labels": np.array([0]),
    }

    with pytest.raises(EdgeError, match=r"no numbers for a\.png"):
        detect_all(lambda image: answer, manifest_of(OutputSpec()), [picture], progress=False)


def test_a_picture_of_another_size_is_an_error(tmp_path: Path) -> None:
    """Boxes of a resized picture would all be wrong, silently."""
    saved = red_picture(tmp_path, "a.png", size=(32, 64))
    said = Picture(saved.name, saved.path, (64, 128), *BoxList().arrays())

    with pytest.raises(EdgeError, match="is 64 x 32 px, the data set says 128 x 64 px"):
        detect_all(pytest.fail, manifest_of(OutputSpec()), [said], progress=False)
