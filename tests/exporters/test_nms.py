"""NMS inside a graph gives the answers of Ultralytics' own."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

from exporters.heads.nms import append_nms
from xprune.models.ultralytics import upstream

pytestmark = pytest.mark.needs_torch

ANCHORS = 300
CLASSES = 4


def nms_alone(*, min_score=0.001, iou=0.7, max_boxes=300, anchors=ANCHORS):
    """Return a function of raw (4 + 4, anchors) that runs the appended operators only."""
    shape = [1, 4 + CLASSES, anchors]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["images"], ["output0"])],
            "raw",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    limits = {"min_score": min_score, "iou": iou, "max_boxes": max_boxes}
    with_nms = append_nms(model, names_count=CLASSES, **limits)
    session = ort.InferenceSession(
        with_nms.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert [output.name for output in session.get_outputs()] == ["boxes", "scores", "labels"]
    return lambda raw: session.run(None, {"images": raw[None]})


def random_raw(seed, *, share=0.2, anchors=ANCHORS):
    """Return (4 + 4, anchors) with crowded boxes, whose scores all differ."""
    random = np.random.default_rng(seed)
    centres = random.uniform(20, 80, (2, anchors))
    sizes = random.uniform(10, 40, (2, anchors))
    scores = random.random((CLASSES, anchors))
    scores[random.random(scores.shape) > share] = 0
    return np.concatenate([centres, sizes, scores]).astype(np.float32)


def ultralytics(raw, *, min_score=0.001, iou=0.7, max_boxes=300):
    """Return boxes, scores, labels of Ultralytics' non_max_suppression."""
    suppress = upstream.part("utils.nms", "non_max_suppression")
    (rows,) = suppress(
        torch.from_numpy(raw[None].copy()),
        conf_thres=min_score,
        iou_thres=iou,
        max_det=max_boxes,
        multi_label=True,
        max_time_img=100,
    )
    return rows[:, :4].numpy(), rows[:, 4].numpy(), rows[:, 5].numpy().astype(np.int64)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "limits",
    [{}, {"iou": 0.3}, {"min_score": 0.5}, {"max_boxes": 7}],
    ids=["usual", "little overlap", "high scores", "few boxes"],
)
def test_answers_as_ultralytics_does(seed, limits):
    """Boxes, scores and labels are equal row by row, since no two scores are."""
    raw = random_raw(seed)

    actual = nms_alone(**limits)(raw)

    boxes, scores, labels = ultralytics(raw, **limits)
    assert len(scores) > 5
    np.testing.assert_array_equal(actual[2], labels)
    np.testing.assert_array_equal(actual[1], scores)
    np.testing.assert_allclose(actual[0], boxes, atol=1e-5)


def test_nothing_found_is_an_empty_answer():
    """Zero detections have shapes (0, 4), (0,), (0,) and the same types."""
    raw = random_raw(0)
    raw[4:] = 0.001  # not above the least score

    boxes, scores, labels = nms_alone()(raw)

    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))
    assert (boxes.dtype, scores.dtype, labels.dtype) == (np.float32, np.float32, np.int64)


def test_no_more_than_max_boxes():
    """Boxes that do not overlap: the best 300 stay, by falling score."""
    anchors = 1000
    raw = random_raw(1, share=1.0, anchors=anchors)
    raw[0] = np.arange(anchors) * 100
    raw[2:4] = 10

    _, scores, _ = nms_alone(anchors=anchors)(raw)

    assert len(scores) == 300
    np.testing.assert_array_equal(scores, np.sort(raw[4:].ravel())[::-1][:300])


def test_one_box_may_have_several_labels():
    """Multi-label: an anchor answers with each class that scores."""
    raw = random_raw(2)
    raw[4:] = 0
    raw[4:, 5] = [0.9, 0, 0.4, 0.6]

    boxes, scores, labels = nms_alone()(raw)

    np.testing.assert_array_equal(labels, [0, 3, 2])
    np.testing.assert_allclose(scores, [0.9, 0.6, 0.4])
    assert (boxes == boxes[0]).all()


def test_leaves_the_raw_graph_as_it_was(raw_model):
    """The result is another graph, all of whose new nodes are named "nms/<operator>"."""
    before = raw_model.SerializeToString()

    result = append_nms(raw_model, names_count=5, min_score=0.001, iou=0.7, max_boxes=300)

    count = len(raw_model.graph.node)
    assert raw_model.SerializeToString() == before
    assert list(result.graph.node[:count]) == list(raw_model.graph.node)
    assert all(node.name.startswith("nms/") for node in result.graph.node[count:])
    assert len({node.name for node in result.graph.node}) == len(result.graph.node)
    onnx.checker.check_model(result, full_check=True)
