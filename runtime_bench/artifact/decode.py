"""Turn the raw output of a detector's head into detections, in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from runtime_bench.artifact.boxes import center_to_ltrb, nms
from runtime_bench.artifact.detections import NO_DETECTIONS, Detections
from runtime_bench.errors import EdgeError

if TYPE_CHECKING:
    import numpy.typing as npt

# Ultralytics' own limits, kept so that the answers are the same.
MAX_CANDIDATES = 30_000
CLASS_OFFSET_PX = 7_680


class Decoder(Protocol):
    """Turns one raw output into detections in pixels of the input."""

    def __call__(
        self,
        raw: npt.NDArray[np.float32],
        *,
        min_score: float,
        iou: float,
        max_boxes: int,
        multi_label: bool = True,
    ) -> Detections:
        """See `decode_yolo`."""
        ...


def decode_yolo(
    raw: npt.NDArray[np.float32],
    *,
    min_score: float,
    iou: float,
    max_boxes: int,
    multi_label: bool = True,
) -> Detections:
    """Decode the output of a YOLOv8 head; the same answer as Ultralytics' NMS gives.

    Args:
        raw: (4 + classes, anchors): centre x, centre y, width, height in pixels of the input,
            then a score in [0, 1] per class.
        min_score: A score must be above this to count.
        iou: Of two boxes of one class that overlap by more than this, the lesser goes.
        max_boxes: The most detections that are returned.
        multi_label: Whether one anchor may be answered with several classes, not its best only.

    Returns:
        Detections in pixels of the input, best score first.

    Raises:
        EdgeError: If `raw` has not that shape.
    """
    if raw.ndim != 2 or len(raw) < 5:
        raise EdgeError(
            f"the raw output has shape {raw.shape}; decoder 'yolo' reads (4 + classes, anchors)"
        )
    scores = raw[4:]
    if multi_label:
        labels, anchors = np.nonzero(scores > np.float32(min_score))
        by_anchor = np.argsort(anchors, kind="stable")
        labels, anchors = labels[by_anchor], anchors[by_anchor]
    else:
        best = scores.argmax(axis=0)
        anchors = np.flatnonzero(scores[best, np.arange(raw.shape[1])] > np.float32(min_score))
        labels = best[anchors]
    if not len(anchors):
        return NO_DETECTIONS
    chosen = scores[labels, anchors]
    if len(chosen) > MAX_CANDIDATES:
        rows = np.argsort(-chosen, kind="stable")[:MAX_CANDIDATES]
        labels, anchors, chosen = labels[rows], anchors[rows], chosen[rows]
    found = Detections(center_to_ltrb(raw[:4, anchors].T), chosen, labels)
    return _suppressed(found, iou=iou, max_boxes=max_boxes)


def decode_class_boxes(
    raw: npt.NDArray[np.float32],
    *,
    min_score: float,
    iou: float,
    max_boxes: int,
    multi_label: bool = True,
) -> Detections:
    """Decode what a two-stage detector says; the same answer as torchvision's Faster R-CNN.

    Args:
        raw: (4 + 5 × classes, regions): the regions that were looked at, for each class its
            boxes, all as left, top, right, bottom in pixels of the input, and then a score in
            [0, 1] per class.
        min_score: A score must be above this to count.
        iou: Of two boxes of one class that overlap by more than this, the lesser goes.
        max_boxes: The most detections that are returned.
        multi_label: Whether one region may be answered with several classes, not its best only.

    Returns:
        Detections in pixels of the input, best score first.

    Raises:
        EdgeError: If `raw` has not that shape.
    """
    if raw.ndim != 2 or len(raw) < 9 or (len(raw) - 4) % 5:
        raise EdgeError(
            f"the raw output has shape {raw.shape}; decoder 'class_boxes' reads "
            "(4 + 5 x classes, regions)"
        )
    classes = (len(raw) - 4) // 5
    scores = raw[-classes:]
    counts = scores > np.float32(min_score)
    if not multi_label:
        counts &= np.arange(classes)[:, None] == scores.argmax(axis=0)
    labels, regions = np.nonzero(counts)
    if not len(labels):
        return NO_DETECTIONS
    boxes = raw[4:-classes].reshape(classes, 4, -1)[labels, :, regions]
    return _suppressed(
        Detections(boxes, scores[labels, regions], labels), iou=iou, max_boxes=max_boxes
    )


def _suppressed(found: Detections, *, iou: float, max_boxes: int) -> Detections:
    """Return what is left when of two boxes of a class that overlap the lesser goes."""
    # One class is moved far away from the next, so that one pass serves all classes.
    offsets = (found.labels * CLASS_OFFSET_PX).astype(np.float32)[:, None]
    kept = nms(found.boxes + offsets, found.scores, iou, limit=max_boxes)
    return Detections(found.boxes[kept], found.scores[kept], found.labels[kept])


def decode_rows(
    raw: npt.NDArray[np.float32],
    *,
    min_score: float,
    iou: float,
    max_boxes: int,
    multi_label: bool = True,
) -> Detections:
    """Read the output of an Ultralytics export that has NMS inside, or needs none.

    Args:
        raw: (boxes, 6): left, top, right, bottom in pixels of the input, score, class. What
            pads the answer has a score of 0.
        min_score: A score must be above this to count.
        iou: Not looked at: the model has suppressed what overlaps.
        max_boxes: The most detections that are returned.
        multi_label: Not looked at either.

    Returns:
        Detections in pixels of the input, best score first.

    Raises:
        EdgeError: If `raw` has not that shape.
    """
    del iou, multi_label
    if raw.ndim != 2 or raw.shape[1] != 6:
        raise EdgeError(
            f"the raw output has shape {raw.shape}; decoder 'rows' reads (boxes, 6)"
        )
    found = raw[raw[:, 4] > np.float32(min_score)]
    found = found[np.argsort(-found[:, 4], kind="stable")][:max_boxes]
    if not len(found):
        return NO_DETECTIONS
    return Detections(found[:, :4], found[:, 4], found[:, 5].astype(np.int64))


DECODERS: dict[str, Decoder] = {
    "yolo": decode_yolo,
    "class_boxes": decode_class_boxes,
    "rows": decode_rows,
}


def find_decoder(name: str) -> Decoder:
    """Return the decoder called `name`.

    Raises:
        EdgeError: If there is none.
    """
    try:
        return DECODERS[name]
    except KeyError:
        known = ", ".join(sorted(DECODERS))
        raise EdgeError(f"no decoder is called '{name}'; there are: {known}") from None
