"""ONNX files without a manifest: what Ultralytics' notes say, and what hostile ones may not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from runtime_bench.artifact.detector import load
from runtime_bench.artifact.manifest import Manifest
from runtime_bench.artifact.opened import open_artifact
from runtime_bench.bench.result import artifact_facts
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.timing.inputs import TimedOn, choose_inputs, inputs_of

if TYPE_CHECKING:
    from runtime_bench.runtime.feeds import Shapes

onnx = pytest.importorskip("onnx", reason="models are made with the extra `prune`")
pytestmark = pytest.mark.needs_torch

NOTES = {
    "task": "detect",
    "names": "{0: 'disc', 1: 'square'}",
    "stride": "32",
    "imgsz": "[32, 64]",
    "license": "AGPL-3.0",
    "args": "{'nms': False}",
}
# One box per row: 8, 4 to 24, 20 of class 1; the second row only pads the answer.
ROWS = np.array([[[8, 4, 24, 20, 0.75, 1], [0, 0, 0, 0, 0, 0]]], np.float32)
# The same as a head gives it: centre, sides, and a score for each class.
HEAD = np.array([[[16, 0], [12, 0], [16, 0], [16, 0], [0.1, 0], [0.75, 0]]], np.float32)

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that writes an ONNX file which always answers the same."""

    def write(
        value: np.ndarray[Any, Any],
        notes: dict[str, str],
        *,
        side: Sequence[object] = (1, 3, 32, 64),
        answer: Sequence[object] | None = None,
        more_inputs: Sequence[str] = (),
        name: str = "other.onnx",
    ) -> Path:
        helper, number = onnx.helper, onnx.TensorProto
        zero = helper.make_node("Constant", [], ["zero"], value_float=0.0)
        low = helper.make_node("ReduceMin", ["images"], ["low"], keepdims=0)
        nothing = helper.make_node("Mul", ["low", "zero"], ["nothing"])
        out = helper.make_node("Add", ["value", "nothing"], ["output0"])
        graph = helper.make_graph(
            [zero, low, nothing, out],
            "foreign",
            [
                helper.make_tensor_value_info("images", number.FLOAT, list(side)),
                *(helper.make_tensor_value_info(n, number.INT64, [1, 2]) for n in more_inputs),
            ],
            [helper.make_tensor_value_info("output0", number.FLOAT, answer or value.shape)],
            [onnx.numpy_helper.from_array(value, "value")],
        )
        opsets = [helper.make_opsetid("", 13)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        helper.set_model_props(model, notes)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write


PICTURE = np.zeros((32, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("value", "notes"),
    [
        (HEAD, {}),
        (ROWS, {"args": "{'nms': True}"}),
        (ROWS, {"end2end": "True", "args": "{}"}),
    ],
)
def test_an_export_of_ultralytics_detects(
    save: Save, value: np.ndarray[Any, Any], notes: dict[str, str]
) -> None:
    """With NMS to be done, done inside, or not needed: the same box."""
    detector = load(save(value, {**NOTES, **notes}))

    found = detector(PICTURE)

    assert detector.names == ("disc", "square")
    best = found.scores.argmax()
    np.testing.assert_allclose(found.boxes[best], [8, 4, 24, 20])
    assert found.scores[best] == pytest.approx(0.75)
    assert found.labels[best] == 1


def test_open_sides_come_from_the_notes_or_from_a_person(save: Save) -> None:
    """An export with dynamic sides is of the size that it was exported with, or another."""
    model = save(HEAD, NOTES, side=("batch", 3, "height", "width"), answer=("b", "v", "a"))

    assert open_artifact(model).manifest.input.size == (32, 64)
    shapes: Shapes = {"": (1, 3, 64, 96)}
    assert open_artifact(model, shapes=shapes).manifest.input.size == (64, 96)
    batch: Shapes = {"": (2, 3, 32, 64)}
    assert open_artifact(model, shapes=batch).known is None


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {"task": "segment"},
        {"names": "{0: 'a', 2: 'b'}"},
        {"names": "['a', 'b']"},
        {"names": "{0: ''}"},
        {"names": "{0: 'a\\nb'}"},
        {"names": "{" * 5000},
        {"names": "(" * 500 + ")" * 500},
        {"names": "__import__('os').system('true')"},
        {"names": "{0: 'x', 1: 'y', 2: 'z'}"},  # of three classes the head would give seven
        {"names": "9" * 2_000_000},
    ],
)
def test_what_tells_nothing_can_be_timed_and_no_more(save: Save, notes: dict[str, str]) -> None:
    """Notes that are missing, wrong, or meant to harm: inputs are made up."""
    opened = open_artifact(save(HEAD, {**NOTES, **notes} if notes else {}))

    assert opened.known is None
    assert choose_inputs([opened], []) == TimedOn("noise")
    (feed,) = inputs_of(opened, [])
    assert list(opened.session.run(feed)) == ["output0"]
    facts = artifact_facts(opened)
    assert (facts.model_name, facts.input_size, facts.output) == ("other", (32, 64), "unknown")
    with pytest.raises(EdgeError, match="it can be timed, without pictures"):
        assert opened.manifest


SCORES = np.array([[0.25, 0.75]], np.float32)
OF_CLASSES = {**NOTES, "task": "classify", "imgsz": "[64, 64]"}


def test_a_classifier_is_read_by_its_notes(save: Save) -> None:
    """Its input is what lies in the middle of a picture, and the best class comes first."""
    classify = load(save(SCORES, OF_CLASSES, side=(1, 3, 64, 64)), min_score=0.0)

    found = classify(np.zeros((64, 128, 3), np.uint8))

    spec = classify.manifest.input
    assert (classify.manifest.task, spec.resize, spec.shorter_px) == ("classify", "crop", 64)
    assert (found.labels.tolist(), found.scores.tolist()) == ([1, 0], [0.75, 0.25])
    np.testing.assert_allclose(found.boxes, [[32, 0, 96, 64]] * 2)


def test_scores_that_are_no_shares_are_refused(save: Save) -> None:
    """An export without its softmax."""
    classify = load(save(SCORES * 4, OF_CLASSES, side=(1, 3, 64, 64)))

    with pytest.raises(EdgeError, match="export it with its softmax"):
        classify(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("value", "notes", "side"),
    [
        (SCORES, {**OF_CLASSES, "imgsz": "[32, 64]"}, (1, 3, 32, 64)),  # it may be stretched
        (np.zeros((1, 3), np.float32), OF_CLASSES, (1, 3, 64, 64)),
        (SCORES, {**OF_CLASSES, "task": "segment"}, (1, 3, 64, 64)),
    ],
)
def test_a_classifier_that_is_not_understood_is_timed(
    save: Save, value: np.ndarray[Any, Any], notes: dict[str, str], side: Sequence[object]
) -> None:
    """Another count of classes, another task, or a side that says nothing of the crop."""
    assert open_artifact(save(value, notes, side=side)).known is None


def test_several_inputs_are_made_up(save: Save) -> None:
    """By their names, each of its type."""
    opened = open_artifact(save(HEAD, NOTES, more_inputs=["tokens"]))

    (feed,) = inputs_of(opened, [])

    assert opened.known is None
    assert opened.shapes == {"images": (1, 3, 32, 64), "tokens": (1, 2)}
    assert list(opened.session.run(feed)) == ["output0"]


def test_open_sides_that_nobody_knows_are_asked_for(save: Save) -> None:
    """Without notes and without --shape there is nothing to time."""
    model = save(HEAD, {}, side=(1, 3, "height", "width"))

    with pytest.raises(UsageError, match="--shape 1x3xNxN"):
        open_artifact(model)


def test_a_manifest_beside_it_counts_for_its_own_model_alone(
    save: Save, repository: Path, tmp_path: Path
) -> None:
    """`model.onnx` is an artifact's; another file in that folder is not."""
    manifest = repository / "tests" / "data" / "tiny_artifact" / "manifest.json"
    (tmp_path / "manifest.json").write_bytes(manifest.read_bytes())

    foreign = open_artifact(save(HEAD, NOTES))

    assert isinstance(foreign.known, Manifest)
    assert foreign.known.family == "ultralytics"
    with pytest.raises(EdgeError, match=r"model\.onnx"):
        open_artifact(save(HEAD, NOTES, name="model.onnx"))


def test_a_shape_for_an_artifact_is_refused(repository: Path) -> None:
    """Its manifest says it."""
    with pytest.raises(UsageError, match="fixes its input"):
        open_artifact(
            repository / "tests" / "data" / "tiny_artifact", shapes={"": (1, 3, 8, 8)}
        )
