"""The YOLO decoder against Ultralytics' own and against a slow plain copy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.artifact.decode import MAX_CANDIDATES, decode_rows, decode_yolo, find_decoder
from runtime_bench.errors import EdgeError
from tests.reference.slow_nms import slow_decode


def noise(seed, *, classes, anchors, low=0.0):
    """Return a raw output without any structure: (4 + classes, anchors)."""
    generator = np.random.default_rng(seed)
    centres = generator.uniform(0, 320, (2, anchors))
    sides = generator.uniform(1, 120, (2, anchors))
    scores = generator.uniform(low, 1, (classes, anchors))
    return np.concatenate([centres, sides, scores]).astype(np.float32)


def scene(seed, *, classes, anchors, objects=12):
    """Return a raw output as a detector gives it: a few objects, each seen by many anchors."""
    generator = np.random.default_rng(seed)
    raw = noise(seed, classes=classes, anchors=anchors)
    raw[4:] = raw[4:] ** 12 * 0.05
    centres = generator.uniform(20, 300, (2, objects))
    sides = generator.uniform(10, 150, (2, objects))
    labels = generator.integers(0, classes, objects)
    for anchor in range(anchors // 3):
        one = anchor % objects
        raw[:2, anchor] = centres[:, one] + generator.normal(0, 3, 2)
        raw[2:4, anchor] = sides[:, one] * generator.uniform(0.85, 1.15, 2)
        raw[4 + labels[one], anchor] = generator.beta(1, 3)
        raw[4 + (labels[one] + 1) % classes, anchor] = generator.beta(1, 30)
    return raw


def rows_of(found):
    """Return one row per detection, in an order that ties cannot change."""
    table = np.column_stack([found.scores, found.labels, found.boxes])
    return table[np.lexsort(table.T[::-1])]


def ultralytics_rows(raw, **options):
    """Return the same rows from Ultralytics' own suppression, without its time limit."""
    import torch
    from ultralytics.utils.nms import non_max_suppression

    (answer,) = non_max_suppression(
        torch.from_numpy(raw)[None].clone(), max_time_img=1e9, **options
    )
    table = answer.numpy()[:, [4, 5, 0, 1, 2, 3]]
    return table[np.lexsort(table.T[::-1])]


@pytest.mark.needs_torch
@pytest.mark.parametrize("make", [noise, scene])
@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize(("classes", "anchors"), [(80, 300), (3, 2100), (1, 500)])
def test_the_answer_is_that_of_ultralytics(make, multi_label, classes, anchors):
    """The same boxes, scores and labels to the last bit, up to the order of ties."""
    raw = make(5, classes=classes, anchors=anchors)

    found = decode_yolo(raw, min_score=0.001, iou=0.7, max_boxes=300, multi_label=multi_label)

    expected = ultralytics_rows(
        raw, conf_thres=0.001, iou_thres=0.7, max_det=300, multi_label=multi_label
    )
    assert np.array_equal(rows_of(found), expected)


@pytest.mark.needs_torch
def test_beyond_the_cap_the_answer_is_still_that_of_ultralytics():
    """A class whose candidates all come after the cap is not in the answer of either."""
    raw = noise(6, classes=10, anchors=4000, low=0.1)
    raw[:4] = [[50], [50], [20], [20]]
    raw[-1] *= 0.05

    found = decode_yolo(raw, min_score=0.001, iou=0.7, max_boxes=300)

    expected = ultralytics_rows(
        raw, conf_thres=0.001, iou_thres=0.7, max_det=300, multi_label=True
    )
    assert MAX_CANDIDATES < 9 * 4000
    assert sorted(found.labels) == list(range(9))
    assert np.array_equal(rows_of(found), expected)


@given(seed=st.integers(0, 1000), make=st.sampled_from([noise, scene]))
def test_the_answer_is_what_the_definition_says(seed, make):
    """The same anchors and classes as when every class is taken on its own, pair by pair."""
    raw = make(seed, classes=3, anchors=24)

    found = decode_yolo(raw, min_score=0.2, iou=0.5, max_boxes=15)

    expected = slow_decode(raw, min_score=0.2, iou=0.5, max_boxes=15)
    assert found.labels.tolist() == [label for _, label in expected]
    assert found.scores.tolist() == [raw[4 + label, anchor] for anchor, label in expected]


def test_a_score_must_be_above_the_least_one():
    """A score of exactly the threshold is not an answer, as with Ultralytics."""
    raw = np.array([[10, 10], [10, 10], [4, 4], [4, 4], [0.25, 0.26]], np.float32)

    found = decode_yolo(raw, min_score=0.25, iou=0.7, max_boxes=300)

    assert found.scores.tolist() == [pytest.approx(0.26)]
    assert found.boxes.tolist() == [[8, 8, 12, 12]]


@pytest.mark.parametrize("anchors", [0, 5])
def test_nothing_found_is_an_empty_answer(anchors):
    """No candidate gives no rows, in the usual shapes."""
    found = decode_yolo(np.zeros((7, anchors), np.float32), min_score=0.1, iou=0.7, max_boxes=9)

    assert (found.boxes.shape, found.scores.shape, found.labels.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize("shape", [(84,), (1, 84, 10), (4, 10)])
def test_another_shape_is_refused(shape):
    """The shape that came and the one that is read are both named."""
    with pytest.raises(EdgeError, match=r"decoder 'yolo' reads \(4 \+ classes, anchors\)"):
        decode_yolo(np.zeros(shape, np.float32), min_score=0.1, iou=0.7, max_boxes=9)


def test_an_unknown_decoder_is_named_beside_the_known():
    """A manifest of a later version may name a decoder that is not here."""
    assert find_decoder("yolo") is decode_yolo
    with pytest.raises(EdgeError, match="'detr'; there are: class_boxes, rows, yolo"):
        find_decoder("detr")


def test_rows_that_were_suppressed_are_read():
    """Best first, no more than asked, and what pads the answer stays out."""
    rows = np.array(
        [[1, 2, 3, 4, 0.5, 7], [0, 0, 0, 0, 0, 0], [5, 6, 7, 8, 0.9, 2], [1, 1, 2, 2, 0.3, 1]],
        np.float32,
    )

    found = decode_rows(rows, min_score=0.1, iou=0.7, max_boxes=2)

    np.testing.assert_array_equal(found.boxes, [[5, 6, 7, 8], [1, 2, 3, 4]])
    np.testing.assert_allclose(found.scores, [0.9, 0.5])
    assert found.labels.tolist() == [2, 7]
    assert len(decode_rows(rows, min_score=0.95, iou=0.7, max_boxes=9).scores) == 0
    with pytest.raises(EdgeError, match=r"reads \(boxes, 6\)"):
        decode_rows(rows[:, :5], min_score=0.1, iou=0.7, max_boxes=2)
