"""What a detector found in one picture, and how two such answers agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from runtime_bench.artifact.boxes import iou
from runtime_bench.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects found in one picture.

    Attributes:
        boxes: (N, 4) float32; left, top, right, bottom, in pixels.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64, an index into the names of the model's classes.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", np.asarray(self.boxes, np.float32).reshape(-1, 4))
        object.__setattr__(self, "scores", np.asarray(self.scores, np.float32))
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int64))
        count = len(self.boxes)
        assert self.scores.shape == (count,), f"{count} boxes, scores {self.scores.shape}"
        assert self.labels.shape == (count,), f"{count} boxes, labels {self.labels.shape}"

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Detections:
        """Return the detections at `rows`: indices (K,) or a mask (N,)."""
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows])

    def above(self, score: float) -> Detections:
        """Return the detections whose score is at least `score`, in the same order."""
        return self.take(self.scores >= np.float32(score))

    def to_json(self, names: Sequence[str]) -> list[dict[str, object]]:
        """Return one JSON object per detection: `name`, `label`, `score`, `box` (ltrb, pixels).

        Raises:
            EdgeError: If a label has no name.
        """
        if len(self) and not 0 <= self.labels.min() <= self.labels.max() < len(names):
            span = f"{self.labels.min()} to {self.labels.max()}"
            raise EdgeError(f"detections have labels {span}, but there are {len(names)} names")
        return [
            {
                "name": names[label],
                "label": int(label),
                "score": float(score),
                "box": [float(edge) for edge in box],
            }
            for box, score, label in zip(self.boxes, self.scores, self.labels, strict=True)
        ]


NO_DETECTIONS = Detections(
    np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64)
)


@dataclass(frozen=True, eq=False)
class Match:
    """How the detections `a` and `b` of one picture agree.

    Attributes:
        pairs: (K, 2) int64; the row in `a` and the row in `b` of each pair.
        unmatched_a: (A,) int64; rows of `a` without a partner.
        unmatched_b: (B,) int64; rows of `b` without a partner.
        max_box_difference_px: The greatest difference of an edge in a pair; 0 without pairs.
        max_score_difference: The greatest difference of scores in a pair; 0 without pairs.
    """

    pairs: npt.NDArray[np.int64]
    unmatched_a: npt.NDArray[np.int64]
    unmatched_b: npt.NDArray[np.int64]
    max_box_difference_px: float
    max_score_difference: float


def match_detections(a: Detections, b: Detections, *, min_iou: float) -> Match:
    """Pair two answers one to one, by class and overlap; never by row, since ties reorder rows.

    The pair that overlaps most is made first; of equal overlaps, the pair of closest scores.

    Args:
        a: One answer.
        b: The other answer, for the same picture.
        min_iou: The least overlap (intersection over union) of a pair.
    """
    overlaps = iou(a.boxes, b.boxes)
    allowed = (a.labels[:, None] == b.labels[None, :]) & (overlaps >= np.float32(min_iou))
    rows_a, rows_b = np.nonzero(allowed)
    score_gaps = np.abs(a.scores[rows_a] - b.scores[rows_b])
    best_first = np.lexsort((score_gaps, -overlaps[rows_a, rows_b]))

    free_a = np.ones(len(a), np.bool_)
    free_b = np.ones(len(b), np.bool_)
    pairs: list[tuple[int, int]] = []
    for row_a, row_b in zip(rows_a[best_first], rows_b[best_first], strict=True):
        if free_a[row_a] and free_b[row_b]:
            free_a[row_a] = free_b[row_b] = False
            pairs.append((int(row_a), int(row_b)))

    paired = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    box_gaps = np.abs(a.boxes[paired[:, 0]] - b.boxes[paired[:, 1]])
    gaps = np.abs(a.scores[paired[:, 0]] - b.scores[paired[:, 1]])
    return Match(
        pairs=paired,
        unmatched_a=np.flatnonzero(free_a).astype(np.int64),
        unmatched_b=np.flatnonzero(free_b).astype(np.int64),
        max_box_difference_px=float(box_gaps.max(initial=0.0)),
        max_score_difference=float(gaps.max(initial=0.0)),
    )
