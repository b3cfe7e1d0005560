"""What the rows of a raw output are: so that two of them can be compared.

Of the decoder "yolo" they are (4 + classes, anchors): the box of an anchor as centre and size,
and the scores of its classes. Of "class_boxes", (4 + 5 × classes, regions): the region that was
looked at, a box for each class, and their scores. A region is nothing but its place: which one
stands in which column is a matter of order, and of equals either may be there.
"""

import numpy as np
from numpy.typing import NDArray

from runtime_bench.artifact.boxes import center_to_ltrb, iou

Raw = NDArray[np.float32]

YOLO, CLASS_BOXES = "yolo", "class_boxes"
BOX_ROWS = 4
REGION_ROWS = 4


def rows_of(decoder: str, classes: int) -> int:
    """Return how many rows a raw output has."""
    if decoder == CLASS_BOXES:
        return REGION_ROWS + (BOX_ROWS + 1) * classes
    return BOX_ROWS + classes


def classes_of(decoder: str, rows: int) -> int:
    """Return of how many classes a raw output of so many rows is."""
    if decoder == CLASS_BOXES:
        return (rows - REGION_ROWS) // (BOX_ROWS + 1)
    return rows - BOX_ROWS


def box_rows(decoder: str, rows: int) -> int:
    """Return how many of the rows, the first ones, are places in pixels."""
    return rows - classes_of(decoder, rows)


def boxes_of(decoder: str, raw: Raw, label: int) -> Raw:
    """Return the candidates (K, 4) of a class, ltrb in pixels."""
    if decoder == CLASS_BOXES:
        first = REGION_ROWS + BOX_ROWS * label
        boxes: Raw = raw[first : first + BOX_ROWS].T
        return boxes
    return center_to_ltrb(raw[:BOX_ROWS].T)


def scores_of(decoder: str, raw: Raw) -> Raw:
    """Return the scores (classes, K)."""
    scores: Raw = raw[box_rows(decoder, len(raw)) :]
    return scores


def put_alike(decoder: str, wanted: Raw, output: Raw) -> Raw:
    """Return `output` with its columns where the same regions stand in `wanted`.

    A region without a like is told by the one that it overlaps most.
    """
    if decoder != CLASS_BOXES:
        return output
    overlaps = iou(wanted[:REGION_ROWS].T, output[:REGION_ROWS].T)
    moved: Raw = output[:, overlaps.argmax(axis=1)]
    return moved
