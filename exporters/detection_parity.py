"""Are two answers for one picture the same detections, up to rounding?

A row of one answer needs a partner in the other: the same class, each edge within a pixel,
the score within a thousandth. Rounding can also decide whether a row is there at all, so a
row may be alone if one of three limits passes through it:

- its score is at the least score;
- the answer is full, and its score is at that of the last row;
- the other answer holds a box of its class, scored as high or higher, whose overlap with it
  is at the limit of suppression; or beyond it, if that box has no partner either: which of
  two equals stays is a matter of order.

The last would also excuse an artifact with all boxes in wrong places. So a row of the
artifact must besides be a candidate of the reference: an anchor with this box and score.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.raw_layout import YOLO, boxes_of, scores_of
from runtime_bench.artifact.boxes import iou
from runtime_bench.artifact.decode import find_decoder
from runtime_bench.artifact.detections import Detections, match_detections
from runtime_bench.artifact.manifest import OutputSpec
from runtime_bench.errors import EdgeError

BOX_TOLERANCE_PX = 1.0
SCORE_TOLERANCE = 1e-3
_MIN_IOU = 0.9  # of a pair; a pair that overlaps less may still be close, see `_close`
_LIMIT_TOLERANCE = 1e-4  # of a score, at the least score or the last row
# The decoder moves classes 7,680 px apart, where float32 is good to 0.03 px: of a box of 5 px,
# that is an overlap off by 0.03.
_IOU_TOLERANCE = 0.05

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class DetectionParity:
    """How two answers for one picture agree.

    Attributes:
        compared: Rows of the reference.
        matched: How many of them have a partner.
        ties: Rows of either side without one, each explained by rounding.
        max_box_difference_px: The greatest difference of an edge between partners.
        max_score_difference: The greatest difference of scores between partners.
    """

    compared: int
    matched: int
    ties: int
    max_box_difference_px: float
    max_score_difference: float


def compare_detections(
    raw: NDArray[np.float32],
    actual: Detections,
    *,
    decoder: str = YOLO,
    output: OutputSpec,
    probe: str = "picture",
) -> DetectionParity:
    """Compare an answer with what follows from the reference's raw output.

    Args:
        raw: The reference's raw output, without its first axis.
        actual: The answer to check.
        decoder: What reads `raw`.
        output: The limits that both answers keep to.
        probe: What the picture is called in an error.

    Raises:
        EdgeError: If a row of either side has neither partner nor excuse.
    """
    expected = find_decoder(decoder)(
        raw,
        min_score=output.min_score,
        iou=output.iou,
        max_boxes=output.max_boxes,
        multi_label=output.multi_label,
    )
    pairs = _pair(expected, actual)
    alone = np.setdiff1d(np.arange(len(expected)), pairs[:, 0])
    extra = np.setdiff1d(np.arange(len(actual)), pairs[:, 1])
    missing = alone[~_excused(expected, alone, other=actual, other_alone=extra, output=output)]
    excused = _excused(actual, extra, other=expected, other_alone=alone, output=output)
    unexpected = extra[~(excused & _are_candidates(actual.take(extra), raw, decoder))]
    if len(missing) or len(unexpected):
        raise EdgeError(
            f"the artifact's detections differ from the PyTorch model's on probe '{probe}': "
            f"{len(missing)} of {len(expected)} missing, {len(unexpected)} of {len(actual)} "
            "unexpected; nothing was written, export the raw head instead"
        )
    boxes = np.abs(expected.boxes[pairs[:, 0]] - actual.boxes[pairs[:, 1]])
    scores = np.abs(expected.scores[pairs[:, 0]] - actual.scores[pairs[:, 1]])
    return DetectionParity(
        compared=len(expected),
        matched=len(pairs),
        ties=len(alone) + len(extra),
        max_box_difference_px=float(boxes.max(initial=0.0)),
        max_score_difference=float(scores.max(initial=0.0)),
    )


def _pair(a: Detections, b: Detections) -> Rows:
    """Return (K, 2), the rows of `a` and `b` that are the same detection."""
    by_overlap = match_detections(a, b, min_iou=_MIN_IOU).pairs
    close = _close(a.take(by_overlap[:, 0]), b.take(by_overlap[:, 1]))
    pairs = [(int(row_a), int(row_b)) for row_a, row_b in by_overlap[close]]
    free_a = set(range(len(a))) - {row for row, _ in pairs}
    free_b = set(range(len(b))) - {row for _, row in pairs}
    # Overlap says little of a box smaller than a pixel: what is left is paired by closeness.
    for row_a in sorted(free_a):
        rows = np.array(sorted(free_b), np.int64)
        matches = rows[_close(a.take(np.full(len(rows), row_a)), b.take(rows))]
        if len(matches):
            pairs.append((row_a, int(matches[0])))
            free_b.remove(int(matches[0]))
    return np.array(pairs, np.int64).reshape(-1, 2)


def _close(a: Detections, b: Detections) -> NDArray[np.bool_]:
    """Return for each row (K,) whether both are the same detection up to rounding."""
    box_gaps = np.abs(a.boxes - b.boxes).max(axis=1, initial=0.0)
    near = box_gaps <= BOX_TOLERANCE_PX
    same: NDArray[np.bool_] = near & (np.abs(a.scores - b.scores) <= SCORE_TOLERANCE)
    same &= a.labels == b.labels
    return same


def _excused(
    mine: Detections, rows: Rows, *, other: Detections, other_alone: Rows, output: OutputSpec
) -> NDArray[np.bool_]:
    """Return for each of `rows` of `mine` whether rounding explains that `other` lacks it."""
    scores = mine.scores[rows]
    excused: NDArray[np.bool_] = scores <= output.min_score + _LIMIT_TOLERANCE
    if len(other) >= output.max_boxes:
        excused |= scores <= other.scores.min() + _LIMIT_TOLERANCE
    rivals = mine.labels[rows][:, None] == other.labels[None, :]
    rivals &= other.scores[None, :] >= scores[:, None] - _LIMIT_TOLERANCE
    overlaps = iou(mine.boxes[rows], other.boxes) - output.iou
    # A rival that `mine` holds as well did not suppress the row there: only at the limit.
    suppressed = np.abs(overlaps) <= _IOU_TOLERANCE
    suppressed[:, other_alone] |= overlaps[:, other_alone] >= 0
    excused |= (rivals & suppressed).any(axis=1)
    return excused


def _are_candidates(
    detections: Detections, raw: NDArray[np.float32], decoder: str
) -> NDArray[np.bool_]:
    """Return for each detection whether a candidate of `raw` has its box and score."""
    found = np.zeros(len(detections), np.bool_)
    scores = scores_of(decoder, raw)
    for label in np.unique(detections.labels):
        rows = np.flatnonzero(detections.labels == label)
        boxes = boxes_of(decoder, raw, int(label))
        gaps = np.abs(boxes[None] - detections.boxes[rows, None]).max(axis=2, initial=0.0)
        score_gaps = np.abs(scores[label][None] - detections.scores[rows, None])
        near = (gaps <= BOX_TOLERANCE_PX) & (score_gaps <= SCORE_TOLERANCE)
        found[rows] = near.any(axis=1)
    return found
