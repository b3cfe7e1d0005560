"""Tensors agree by number, detections by class and overlap."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exporters.detection_parity import compare_detections
from exporters.parity import check_parity, compare_raw, compare_tensors
from runtime_bench.artifact.decode import decode_yolo
from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.manifest import OutputSpec
from runtime_bench.errors import EdgeError

pytestmark = pytest.mark.needs_torch

OUTPUT = OutputSpec()


def test_tensors_within_the_tolerance_agree():
    """The limit is a share of the greatest value."""
    reference = np.array([0.0, -200.0], np.float32)

    close = compare_tensors(reference, reference + np.float32(0.01))
    far = compare_tensors(reference, reference + np.float32(0.03))

    assert close.limit == pytest.approx(0.02)
    assert close.max_difference == pytest.approx(0.01, rel=1e-2)
    assert (close.holds, far.holds) == (True, False)


def test_a_nan_or_another_shape_never_agrees():
    """Not even when both tensors have it."""
    nan = np.array([np.nan], np.float32)

    assert not compare_tensors(nan, nan).holds
    assert not compare_tensors(np.zeros(1, np.float32), nan).holds
    assert not compare_tensors(np.zeros(2, np.float32), np.zeros(1, np.float32)).holds


def test_a_wrong_score_does_not_hide_behind_pixels():
    """Scores that are off by 0.01 are an error beside boxes of 300 pixels."""
    raw = np.full((6, 10), 300, np.float32)
    raw[4:] = 0.5
    other = raw.copy()
    other[4:] += 0.01

    parity = compare_raw(raw, other)

    assert parity["boxes_px"].holds
    assert not parity["scores"].holds


def random_raw(seed=0, anchors=60):
    """Return (4 + 3, anchors): crowded boxes, every score another."""
    random = np.random.default_rng(seed)
    boxes = np.concatenate(
        [random.uniform(20, 80, (2, anchors)), random.uniform(10, 30, (2, anchors))]
    )
    return np.concatenate([boxes, random.uniform(0, 0.9, (3, anchors))]).astype(np.float32)


def decoded(raw, output=OUTPUT):
    """Return what the numpy decoder makes of it."""
    return decode_yolo(
        raw, min_score=output.min_score, iou=output.iou, max_boxes=output.max_boxes
    )


def compare(raw, actual, output=OUTPUT):
    """Compare an answer with what follows from `raw`."""
    return compare_detections(raw, actual, output=output)


def test_the_same_answer_agrees_in_any_order():
    """Rows are shuffled, and moved by less than the tolerance."""
    raw = random_raw()
    answer = decoded(raw)
    shuffled = answer.take(np.random.default_rng(1).permutation(len(answer)))
    moved = Detections(shuffled.boxes + 0.02, shuffled.scores + 1e-5, shuffled.labels)

    parity = compare(raw, moved)

    assert parity.matched == parity.compared == len(answer)
    assert parity.ties == 0
    assert parity.max_box_difference_px == pytest.approx(0.02, rel=1e-2)


def test_two_empty_answers_agree():
    """A blank picture."""
    raw = random_raw()
    raw[4:] = 0

    assert compare(raw, decoded(raw)).compared == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda boxes, scores, labels: (boxes + 3, scores, labels),
        lambda boxes, scores, labels: (boxes, scores * 0.9, labels),
        lambda boxes, scores, labels: (boxes, scores, (labels + 1) % 3),
        lambda boxes, scores, labels: (boxes[1:], scores[1:], labels[1:]),
        lambda boxes, scores, labels: (
            np.concatenate([boxes, boxes[:1]]),
            np.append(scores, scores[0]),
            np.append(labels, labels[0]),
        ),
        lambda boxes, scores, labels: (boxes[:0], scores[:0], labels[:0]),
    ],
    ids=["moved", "other scores", "other labels", "one missing", "one twice", "none"],
)
def test_a_wrong_answer_does_not(change):
    """Each is an error that names the probe."""
    raw = random_raw()
    answer = decoded(raw)

    with pytest.raises(EdgeError, match="probe 'picture'"):
        compare(raw, Detections(*change(answer.boxes, answer.scores, answer.labels)))


def raw_of(rows):
    """Return (5, N) from rows of left, top, width, score: boxes 40 high, one class."""
    table = np.array(rows, np.float32)
    left, top, width, score = table.T
    return np.stack([left + width / 2, top + 20, width, np.full_like(left, 40), score])


def test_which_of_two_equals_stays_does_not_matter():
    """Two boxes overlap too much and score alike: either may be kept."""
    raw = raw_of([(0, 0, 40, 0.8), (4, 0, 40, 0.8), (100, 0, 40, 0.5)])
    swapped = decoded(raw[:, [1, 0, 2]])
    assert not np.array_equal(decoded(raw).boxes, swapped.boxes)

    parity = compare(raw, swapped)

    assert (parity.matched, parity.ties) == (1, 2)


def test_the_lesser_of_two_unequals_is_wrong():
    """The same swap, but one scores clearly higher: it must be the one that stays."""
    raw = raw_of([(0, 0, 40, 0.8), (4, 0, 40, 0.7), (100, 0, 40, 0.5)])

    with pytest.raises(EdgeError, match="1 of 2 missing"):
        compare(raw, decoded(raw).take(np.array([1])))
    with pytest.raises(EdgeError, match="missing"):
        compare(raw, decoded(raw[:, 1:]))


def test_an_overlap_at_the_limit_may_fall_either_way():
    """An overlap of 0.7 up to rounding: one row more or less is no error."""
    overlap = 2 * 40 * 0.7 / 1.7  # the shared width of two boxes 40 wide
    raw = raw_of([(0, 0, 40, 0.8), (40 - overlap, 0, 40, 0.6)])
    both = Detections(
        np.array([[0, 0, 40, 40], [40 - overlap, 0, 80 - overlap, 40]]), raw[4], np.zeros(2)
    )

    assert compare(raw, both).compared >= 1
    assert compare(raw, both.take(np.array([0]))).compared >= 1


def test_a_score_at_the_least_score_may_be_missing():
    """Rounding decides whether it is above."""
    raw = raw_of([(0, 0, 40, 0.8), (100, 0, 40, 0.00105)])

    assert compare(raw, decoded(raw).take(np.array([0]))).ties == 1


def test_a_full_answer_may_end_with_another_of_equal_score():
    """Which of many equal scores are the last rows is a matter of order."""
    output = OutputSpec(max_boxes=2)
    raw = raw_of([(0, 0, 40, 0.8), (100, 0, 40, 0.5), (200, 0, 40, 0.5)])
    other = decoded(raw[:, [0, 2, 1]], output)

    assert compare(raw, other, output).ties == 2


def test_a_box_that_is_no_candidate_is_wrong_even_as_a_tie():
    """It overlaps a row of the reference and scores alike, but no anchor has this box."""
    raw = raw_of([(0, 0, 40, 0.8)])
    answer = decoded(raw)

    with pytest.raises(EdgeError, match="1 of 1 unexpected"):
        compare(raw, Detections(answer.boxes + 2, answer.scores, answer.labels))


def scaled(factor):
    """Return a graph whose output is its input times a factor."""
    shape = [1, 7, 60]
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Mul", ["images", "factor"], ["output0"])],
            "scaled",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
            [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    ).SerializeToString()


def test_a_file_is_checked_on_every_probe():
    """The figures are the worst of all; one probe beyond the limit is an error naming it."""
    probes = {"picture 1": random_raw(1)[None], "blank": np.zeros((1, 7, 60), np.float32)}
    reference = {name: image[0] for name, image in probes.items()}
    output = OutputSpec(kind="raw", names=("output0",), decoder="yolo")

    figures = check_parity(scaled(1.0), reference, probes, output=output)

    assert figures["probes"] == ["picture 1", "blank"]
    assert figures["boxes_px"]["max_difference"] == 0
    with pytest.raises(EdgeError, match="probe 'picture 1': boxes_px by"):
        check_parity(scaled(1.001), reference, probes, output=output)


def test_the_graph_of_a_detector_agrees_with_pytorch(raw_model, reference, probes):
    """The real thing: YOLOv8 in PyTorch and in onnxruntime."""
    output = OutputSpec(kind="raw", names=("output0",), decoder="yolo")

    figures = check_parity(raw_model.SerializeToString(), reference, probes, output=output)

    assert onnx.checker.check_model(raw_model) is None
    assert figures["scores"]["max_difference"] < 1e-5


def test_a_network_that_amplifies_rounding_is_measured_by_its_own():
    """What PyTorch's float32 itself misses widens the limit; anything beyond still fails."""
    exact = np.linspace(0.0, 1.0, 60).reshape(6, 10)
    reference = (exact + 1e-3).astype(np.float32)

    alike = compare_raw(reference, (exact - 1e-3).astype(np.float32), exact)
    apart = compare_raw(reference, (exact - 9e-3).astype(np.float32), exact)

    assert all(parity.holds for parity in alike.values())
    assert not any(parity.holds for parity in apart.values())
    assert not compare_raw(reference, (exact - 1e-3).astype(np.float32))["scores"].holds
