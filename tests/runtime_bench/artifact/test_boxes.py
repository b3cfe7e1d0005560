"""Boxes against torchvision and against slow plain copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runtime_bench.artifact.boxes import center_to_ltrb, clip, iou, nms, xywh_to_ltrb
from tests.reference.slow_nms import slow_iou, slow_nms


def random_boxes(generator, count, *, size_px=320.0):
    """Return (count, 4) boxes, left, top, right, bottom, many of which overlap."""
    corners = generator.uniform(0, size_px, (count, 2))
    sides = generator.uniform(1, size_px / 3, (count, 2))
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


SMALL_BOXES = hnp.arrays(
    np.float32,
    st.integers(0, 12).map(lambda count: (count, 4)),
    elements=st.integers(0, 12).map(float),
).map(lambda boxes: np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))


@given(first=SMALL_BOXES, second=SMALL_BOXES)
def test_iou_is_what_its_definition_says(first, second):
    """Every pair has the overlap of the slow copy, empty boxes too."""
    expected = [[slow_iou(a, b) for b in second] for a in first]

    found = iou(first, second)

    assert found.shape == (len(first), len(second))
    assert found == pytest.approx(np.array(expected).reshape(found.shape), abs=1e-6)


@pytest.mark.needs_torch
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms_keeps_what_torchvision_keeps(threshold):
    """The same rows in the same order, for more boxes than one block has."""
    import torch
    from torchvision.ops import nms as torchvision_nms

    generator = np.random.default_rng(1)
    boxes = random_boxes(generator, 1500)
    scores = generator.uniform(0, 1, 1500).astype(np.float32)

    expected = torchvision_nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)

    assert nms(boxes, scores, threshold).tolist() == expected.tolist()


@given(boxes=SMALL_BOXES, data=st.data(), threshold=st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]))
def test_nms_is_what_its_definition_says(boxes, data, threshold):
    """The rows of the slow copy, in its order, ties and empty boxes included."""
    ranks = data.draw(st.lists(st.integers(0, 3), min_size=len(boxes), max_size=len(boxes)))
    scores = np.array(ranks, np.float32) / 4

    assert nms(boxes, scores, threshold).tolist() == slow_nms(boxes, scores, threshold)


def test_nms_across_blocks_is_what_its_definition_says():
    """A box kept in the first block hides a box of the last one."""
    generator = np.random.default_rng(2)
    boxes = random_boxes(generator, 600, size_px=60.0)
    scores = generator.uniform(0, 1, 600).astype(np.float32)

    assert nms(boxes, scores, 0.4).tolist() == slow_nms(boxes, scores, 0.4)


def test_nms_stops_at_its_limit():
    """The limit cuts the list, it does not change it."""
    generator = np.random.default_rng(3)
    boxes = random_boxes(generator, 700)
    scores = generator.uniform(0, 1, 700).astype(np.float32)

    assert nms(boxes, scores, 0.7, limit=5).tolist() == nms(boxes, scores, 0.7)[:5].tolist()


def test_nms_of_nothing_is_nothing():
    """No boxes give no rows."""
    assert nms(np.empty((0, 4)), np.empty(0), 0.5).shape == (0,)


@pytest.mark.needs_torch
def test_forms_are_those_of_torchvision():
    """Both other forms become the same corners as in torchvision."""
    import torch
    from torchvision.ops import box_convert

    boxes = random_boxes(np.random.default_rng(4), 50)
    tensor = torch.from_numpy(boxes)

    assert center_to_ltrb(boxes) == pytest.approx(
        box_convert(tensor, "cxcywh", "xyxy").numpy(), abs=1e-4
    )
    assert xywh_to_ltrb(boxes) == pytest.approx(
        box_convert(tensor, "xywh", "xyxy").numpy(), abs=1e-4
    )


def test_clip_cuts_at_the_edges():
    """Height limits the vertical edges, width the horizontal ones."""
    cut = clip([[-5, -5, 500, 500], [1, 2, 3, 4]], (100, 200))

    assert cut.tolist() == [[0, 0, 200, 100], [1, 2, 3, 4]]
