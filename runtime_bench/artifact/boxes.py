"""Boxes as arrays: overlap, clipping, changes of form, and non-maximum suppression.

A box is left, top, right, bottom, in pixels, unless the name of a function says otherwise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.int64]

_BLOCK = 256


def iou(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """Return the overlap (intersection over union) of every pair of boxes.

    Args:
        first: (N, 4) left, top, right, bottom, in pixels.
        second: (M, 4) likewise.

    Returns:
        (N, M) in [0, 1]; 0 where both boxes of a pair are empty.
    """
    overlaps = _iou(_as_boxes(first), _as_boxes(second))
    return np.nan_to_num(overlaps, copy=False, nan=0.0)


def clip(boxes: npt.ArrayLike, size: tuple[int, int]) -> FloatArray:
    """Return `boxes` (N, 4) cut at the edges of a picture of `size` (height, width)."""
    height, width = size
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(_as_boxes(boxes), np.float32(0), limit)


def xywh_to_ltrb(boxes: npt.ArrayLike) -> FloatArray:
    """Turn (N, 4) left, top, width, height (as COCO has it) into our form."""
    boxes = _as_boxes(boxes)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def center_to_ltrb(boxes: npt.ArrayLike) -> FloatArray:
    """Turn (N, 4) centre x, centre y, width, height (as YOLO has it) into our form."""
    boxes = _as_boxes(boxes)
    half = boxes[:, 2:] / np.float32(2)
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def nms(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    iou_threshold: float,
    *,
    limit: int | None = None,
) -> IndexArray:
    """Return the indices of the boxes that greedy non-maximum suppression keeps.

    The best box is kept, those that overlap it by more than the threshold go, and so on: the
    result of `torchvision.ops.nms`, found block by block, so that it stays quick in numpy.

    Args:
        boxes: (N, 4) left, top, right, bottom, in pixels.
        scores: (N,); of equal scores the earlier one counts as better.
        iou_threshold: An overlap above this removes the lesser box.
        limit: Stop when so many are kept.

    Returns:
        (K,) indices into `boxes`, best score first.
    """
    boxes = _as_boxes(boxes)
    order = np.argsort(-np.asarray(scores, np.float32), kind="stable")
    limit = len(order) if limit is None else limit
    # float64, so that 0.7 means 0.7 also beside an overlap in float32 (as in torchvision).
    threshold = np.float64(iou_threshold)
    kept: list[IndexArray] = []
    kept_count = 0
    for start in range(0, len(order), _BLOCK):
        if kept_count >= limit:
            break
        block = order[start : start + _BLOCK]
        for earlier in kept:
            hidden = (_iou(boxes[earlier], boxes[block]) > threshold).any(axis=0)
            block = block[~hidden]
        block = block[_survivors(_iou(boxes[block], boxes[block]) > threshold)]
        kept.append(block)
        kept_count += len(block)
    return np.concatenate([*kept, np.empty(0, np.int64)]).astype(np.int64)[:limit]


def _survivors(overlapping: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which boxes of one block stay; (B, B) overlaps, best box first."""
    alive = np.ones(len(overlapping), np.bool_)
    for index in np.flatnonzero(overlapping.sum(axis=1) > 1):
        if alive[index]:
            alive[index + 1 :] &= ~overlapping[index, index + 1 :]
    return alive


def _iou(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return (N, M) overlaps, in the order of operations of torchvision; 0/0 is NaN."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    opposite = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(opposite - corner, np.float32(0))
    shared = sides[..., 0] * sides[..., 1]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        overlaps: FloatArray = shared / (
            (_areas(first)[:, None] + _areas(second)[None, :]) - shared
        )
    return overlaps


def _areas(boxes: FloatArray) -> FloatArray:
    areas: FloatArray = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def _as_boxes(boxes: npt.ArrayLike) -> FloatArray:
    return np.asarray(boxes, np.float32).reshape(-1, 4)
