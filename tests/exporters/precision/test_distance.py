"""The distance of raw outputs, against torchvision's overlaps and by hand."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_convert, box_iou

from exporters.precision.distance import distance

pytestmark = pytest.mark.needs_torch


def raw(seed: int, anchors: int = 20, classes: int = 3) -> np.ndarray:
    """Return boxes as centre and size, and scores."""
    random = np.random.default_rng(seed)
    boxes = random.uniform(10, 50, (4, anchors))
    return np.concatenate([boxes, random.uniform(0, 1, (classes, anchors))]).astype(np.float32)


def test_equal_outputs_are_not_apart():
    """Nothing moved."""
    assert distance([raw(0), raw(1)], [raw(0), raw(1)]) == pytest.approx(0, abs=1e-6)


def test_it_is_what_its_definition_says():
    """Loops over all anchors and classes, with torchvision's overlap."""
    wanted, output = raw(0), raw(1)
    moved = weights = 0.0
    for anchor in range(wanted.shape[1]):
        boxes = [
            box_convert(torch.tensor(side[:4, anchor])[None], "cxcywh", "xyxy")
            for side in (wanted, output)
        ]
        weight = wanted[4:, anchor].max()
        moved += weight * (1 - box_iou(*boxes).item())
        for a, b in zip(wanted[4:, anchor], output[4:, anchor], strict=True):
            moved += max(a, b) * abs(a - b)
        weights += weight

    assert distance([wanted], [output]) == pytest.approx(moved / (1 + weights), rel=1e-4)


def test_what_nobody_looks_at_may_move():
    """A box without a score counts nothing; the same with a score does."""
    wanted, moved = raw(0), raw(0)
    moved[:4, 7] += 30
    unseen = wanted.copy(), moved.copy()
    for side in unseen:
        side[4:, 7] = 0

    assert distance([unseen[0]], [unseen[1]]) == pytest.approx(0, abs=1e-6)
    assert distance([wanted], [moved]) > 0


def test_what_is_no_number_is_infinitely_far():
    """A broken graph never looks best."""
    broken = raw(0)
    broken[5, 3] = np.nan

    assert distance([raw(0)], [broken]) == float("inf")
