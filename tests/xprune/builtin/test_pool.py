"""Training batches: letterboxed as Ultralytics does, boxes that follow their pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from xprune.builtin.pool import Pool, draw_pool, letterbox, make_batch
from xprune.builtin.scenes import draw_scene

pytestmark = pytest.mark.needs_torch


@pytest.mark.parametrize("size", [(192, 256), (256, 192), (101, 77), (192, 192), (57, 200)])
def test_letterbox_equals_opencv(size: tuple[int, int]):
    """The square is OpenCV's resized picture with a grey border, to within one grey level."""
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)

    square, scale, (left, top) = letterbox(picture, 192)

    height, width = round(size[0] * scale), round(size[1] * scale)
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    below, right = 192 - height - top, 192 - width - left
    expected = cv2.copyMakeBorder(
        resized, top, below, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114)
    )
    assert max(height, width) == 192
    assert 0 <= below - top <= 1
    assert 0 <= right - left <= 1
    assert np.abs(square.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_a_pool_keeps_boxes_on_their_objects():
    """A box of the pool, scaled back, is the box of the scene."""
    pool = draw_pool(range(3), seed=7, size_px=128)

    for index, boxes in enumerate(pool.boxes):
        picture, expected, labels = draw_scene(7, index)
        _, scale, (left, top) = letterbox(picture, 128)
        restored = (boxes - np.array([left, top, left, top])) / scale
        assert np.allclose(restored, expected, atol=1e-3)
        assert np.array_equal(pool.labels[index], labels)


@pytest.mark.parametrize("vary_geometry", [False, True])
def test_boxes_follow_the_pictures(vary_geometry: bool):
    """Where a bright rectangle ends up after all variations, there its box is."""
    size = 96
    picture = torch.zeros(1, 3, size, size, dtype=torch.uint8)
    picture[:, :, 30:50, 40:75] = 255
    box = np.array([[40, 30, 75, 50]], np.float32)
    pool = Pool(picture, (box,), (np.array([5]),))

    batch = make_batch(pool, count=40, seed=0, step=0, vary_geometry=vary_geometry)

    assert torch.equal(batch["batch_idx"], torch.arange(40.0))
    assert torch.equal(batch["cls"], torch.full((40, 1), 5.0))
    for image, (x, y, width, height) in zip(
        batch["img"], (batch["bboxes"] * size).tolist(), strict=True
    ):
        # Black, the grey that moves in at the edges, white: halfway between the last two.
        level = image.mean(dim=0)
        threshold = level.min() + 0.72 * (level.max() - level.min())
        rows, columns = torch.nonzero(level > threshold, as_tuple=True)
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        claimed = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        assert np.abs(np.array(seen) - claimed).max() <= 1.01


def test_a_step_always_sees_the_same_batch():
    """Seed and step decide a batch; another step gives another one."""
    pool = draw_pool(range(6), seed=7, size_px=64)

    first, again, other = (make_batch(pool, count=4, seed=0, step=s) for s in (3, 3, 4))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["img"], other["img"])
