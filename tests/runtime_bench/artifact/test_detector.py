"""An artifact as a function, on models whose answers are known by heart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import runtime_bench
from runtime_bench.artifact.detector import load, read_outputs
from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import OutputSpec, read_manifest, write_manifest
from runtime_bench.errors import EdgeError, UsageError
from tests.reference.tiny_models import NAMES, write_artifact


@pytest.fixture(params=["raw", "detections"])
def artifact(tmp_path, request):
    """The folder of a tiny artifact, of each kind of output."""
    return write_artifact(tmp_path / "artifact", raw=request.param == "raw")


@pytest.fixture
def red_picture():
    """A picture twice the input in both directions: mostly red, a little green, no blue."""
    return np.full((64, 128, 3), (204, 76, 0), np.uint8)


def test_a_picture_gives_detections_in_its_own_pixels(artifact, red_picture):
    """Twice the box of the input; scores are channel means; the weak class is left out."""
    found = runtime_bench.load(artifact, threads=1)(red_picture)

    assert found.labels.tolist() == [0, 1]
    assert found.scores == pytest.approx([204 / 255, 76 / 255], abs=1e-5)
    assert found.boxes.tolist() == [[32, 16, 96, 48]] * 2
    assert [row["name"] for row in found.to_json(NAMES)] == ["red thing", "green thing"]


def test_every_way_to_hand_over_a_picture_is_the_same(artifact, red_picture, tmp_path):
    """A path, its text, a Pillow image and an array give one answer."""
    path = tmp_path / "red.png"
    Image.fromarray(red_picture).save(path)
    detector = load(str(artifact / "model.onnx"), threads=1)

    answers = [detector(p) for p in (path, str(path), Image.open(path), red_picture)]

    assert all(np.array_equal(a.boxes, answers[0].boxes) for a in answers)
    assert all(np.array_equal(a.scores, answers[0].scores) for a in answers)


@pytest.mark.parametrize(
    ("min_score", "count"), [(None, 2), (0.5, 1), (0.29, 2), (0.9, 0), (0.0, 2)]
)
def test_the_least_score_is_the_manifests_unless_given(tmp_path, red_picture, min_score, count):
    """0.25 stands in the manifest; a raw output never answers below its own least score."""
    folder = write_artifact(tmp_path / "artifact", raw=True)

    assert len(load(folder, threads=1, min_score=min_score)(red_picture)) == count


@pytest.mark.parametrize("min_score", [-0.1, 1.1, float("nan")])
def test_an_impossible_score_is_wrong_usage(tmp_path, min_score):
    """The range is named before anything is loaded."""
    with pytest.raises(UsageError, match="it must be from 0 to 1"):
        load(tmp_path, min_score=min_score)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"input": InputSpec(size=(64, 64))},
            r"takes shape \(1, 3, 32, 64\), but its manifest",
        ),
        ({"input": InputSpec(size=(32, 64), name="x")}, r"tensor\(float\) 'images', but its m"),
        ({"output": OutputSpec(kind="raw", names=("y",), decoder="yolo")}, "lacks output 'y'"),
        (
            {"output": OutputSpec(kind="raw", names=("output0",), decoder="z")},
            "decoder is call",
        ),
    ],
)
def test_a_model_that_is_not_what_the_manifest_says_is_refused(tmp_path, change, problem):
    """Input name, shape, outputs and decoder are compared on load."""
    folder = write_artifact(tmp_path / "artifact", raw=True)
    write_manifest(folder, replace(read_manifest(folder), **change))

    with pytest.raises(EdgeError, match=problem):
        load(folder, threads=1)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_picture_is_refused(artifact, picture):
    """The type and shape that came and the one that is wanted are named."""
    with pytest.raises(EdgeError, match=r"not uint8 \(height, width, 3\)"):
        load(artifact, threads=1)(picture)


def test_outputs_that_do_not_belong_together_are_refused():
    """Three boxes with two scores are not detections."""
    outputs = {"boxes": np.zeros((3, 4)), "scores": np.zeros(2), "labels": np.zeros(2, int)}

    with pytest.raises(EdgeError, match=r"the outputs have shapes \(3, 4\), \(2,\), \(2,\)"):
        read_outputs(outputs, OutputSpec())


def test_a_raw_output_without_a_batch_is_refused():
    """The shape that came is named."""
    spec = OutputSpec(kind="raw", names=("output0",), decoder="yolo")

    with pytest.raises(EdgeError, match=r"has shape \(7, 1\), not \(1, values, anchors\)"):
        read_outputs({"output0": np.zeros((7, 1), np.float32)}, spec)
