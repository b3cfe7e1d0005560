"""Non-maximum suppression as its definition says it, one pair of boxes at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def slow_iou(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the overlap of two boxes, left, top, right, bottom."""
    left_1, top_1, right_1, bottom_1 = (float(edge) for edge in np.asarray(first))
    left_2, top_2, right_2, bottom_2 = (float(edge) for edge in np.asarray(second))
    width = max(0.0, min(right_1, right_2) - max(left_1, left_2))
    height = max(0.0, min(bottom_1, bottom_2) - max(top_1, top_2))
    shared = width * height
    area_1 = (right_1 - left_1) * (bottom_1 - top_1)
    area_2 = (right_2 - left_2) * (bottom_2 - top_2)
    union = area_1 + area_2 - shared
    return shared / union if union > 0 else 0.0


def slow_nms(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], iou_threshold: float
) -> list[int]:
    """Return the rows that stay, best score first; of equal scores the earlier is better."""
    rows = sorted(range(len(boxes)), key=lambda row: (-float(scores[row]), row))
    kept: list[int] = []
    for row in rows:
        if all(slow_iou(boxes[row], boxes[better]) <= iou_threshold for better in kept):
            kept.append(row)
    return kept


def slow_decode(
    raw: npt.NDArray[np.float32], *, min_score: float, iou: float, max_boxes: int
) -> list[tuple[int, int]]:
    """Decode a YOLO head class by class; return (anchor, class) pairs, best score first."""
    found: list[tuple[float, int, int]] = []
    centre_x, centre_y, width, height = raw[:4]
    boxes = np.stack(
        [
            centre_x - width / 2,
            centre_y - height / 2,
            centre_x + width / 2,
            centre_y + height / 2,
        ],
        axis=1,
    )
    for label, scores in enumerate(raw[4:]):
        anchors = np.flatnonzero(scores > np.float32(min_score))
        kept = slow_nms(boxes[anchors], scores[anchors], iou)
        found += [(-float(scores[anchors[row]]), int(anchors[row]), label) for row in kept]
    return [(anchor, label) for _, anchor, label in sorted(found)[:max_boxes]]
