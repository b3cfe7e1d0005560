"""A graph in fewer bits ships only if it finds what the float graph finds."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from exporters.precision.agreement import check_agreement
from runtime_bench.artifact.manifest import OutputSpec
from runtime_bench.errors import EdgeError

pytestmark = pytest.mark.needs_torch

COUNT = 12


def answering(scores: np.ndarray, *, shift: float = 0.0) -> bytes:
    """Return a graph that finds the same boxes in any picture, with these scores."""
    corners = np.arange(COUNT, dtype=np.float32)[:, None] * 20 + shift
    boxes = np.concatenate([corners, corners, corners + 10, corners + 10], axis=1)
    constants = {
        "boxes0": boxes.astype(np.float32),
        "scores0": scores.astype(np.float32),
        "labels": np.zeros(COUNT, np.int64),
    }
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Mul", ["boxes0", "most"], ["boxes"]),
        helper.make_node("Mul", ["scores0", "most"], ["scores"]),
        helper.make_node("Identity", ["labels"], ["labels_out"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "fixed",
        [info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [
            info("boxes", onnx.TensorProto.FLOAT, [COUNT, 4]),
            info("scores", onnx.TensorProto.FLOAT, [COUNT]),
            info("labels_out", onnx.TensorProto.INT64, [COUNT]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


OUTPUT = OutputSpec(names=("boxes", "scores", "labels_out"))
SCORES = np.linspace(0.3, 0.9, COUNT)
PROBES = {"ones": np.ones((1, 3, 8, 8), np.float32)}


def test_scores_may_move_a_little():
    """The figures say by how much."""
    figures = check_agreement(
        answering(SCORES), answering(SCORES + 0.02), PROBES, output=OUTPUT
    )

    assert figures["matched_share"] == 1.0
    assert figures["compared"] == 2 * COUNT
    assert figures["mean_score_difference"] == pytest.approx(0.02, abs=1e-6)
    assert figures["max_score_difference"] == pytest.approx(0.02, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "shift"), [(SCORES * 0.1, 0.0), (SCORES, 12.0)], ids=["unseen", "elsewhere"]
)
def test_what_is_not_found_again_does_not_ship(scores, shift):
    """All scores below what is seen, or all boxes in other places."""
    with pytest.raises(EdgeError, match=r"only 0\.00 is found in the lower precision"):
        check_agreement(
            answering(SCORES), answering(scores, shift=shift), PROBES, output=OUTPUT
        )


def test_of_a_few_detections_no_share_is_asked():
    """A model that sees nothing on these pictures can be neither right nor wrong."""
    few = np.where(np.arange(COUNT) < 3, 0.9, 0.0)

    figures = check_agreement(answering(few), answering(few * 0), PROBES, output=OUTPUT)

    assert figures["compared"] == 3
    assert figures["matched_share"] == 0


def test_answers_that_are_no_numbers_do_not_ship():
    """One line that names the probe."""
    broken = answering(np.full(COUNT, np.nan))

    with pytest.raises(EdgeError, match="no numbers on probe 'ones'"):
        check_agreement(answering(SCORES), broken, PROBES, output=OUTPUT)
