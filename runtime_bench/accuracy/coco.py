"""COCO's average precision, AP@[.50:.95], by pycocotools itself."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime_bench.artifact.detections import Detections
from runtime_bench.data.pictures import Picture
from runtime_bench.errors import EdgeError

if TYPE_CHECKING:
    from pycocotools.cocoeval import COCOeval

Record = dict[str, object]


@dataclass(frozen=True)
class Accuracy:
    """How well detections agree with the labels, from 0 to 1.

    Attributes:
        ap: Mean over overlaps 0.50, 0.55, ... 0.95 and over the classes that have a box.
        ap50: The same at overlap 0.50 alone.
        ap75: The same at overlap 0.75 alone.
        ap_by_class: `ap` of each class that has a box.
        pictures: How many pictures were scored.
        boxes: How many boxes the labels hold, groups (crowds) left out.
    """

    ap: float
    ap50: float
    ap75: float
    ap_by_class: dict[str, float]
    pictures: int
    boxes: int


def average_precision(
    pictures: Sequence[Picture], detections: Sequence[Detections], names: Sequence[str]
) -> Accuracy:
    """Score detections in pixels of their pictures against the labels of these pictures.

    At most the 100 best detections of each class and picture count, as COCO has it.

    Args:
        pictures: Labelled, labels indexing `names`.
        detections: One for each picture, in the same order.
        names: The classes.

    Raises:
        EdgeError: If the pictures hold no box at all, since then there is nothing to score.
    """
    boxes = count_boxes(pictures)
    scoring = matched(pictures, detections, names)
    if scoring is None:
        return _nothing_found(pictures, names, boxes)
    with contextlib.redirect_stdout(io.StringIO()):
        scoring.accumulate()
        scoring.summarize()
    # Axes: overlap, recall, class, range of areas (first: all), detections (last: 100).
    precision = scoring.eval["precision"][:, :, :, 0, -1]
    by_class = {}
    for label, name in enumerate(names):
        of_class = precision[:, :, label]
        if (of_class > -1).any():
            by_class[name] = float(of_class[of_class > -1].mean())
    ap, ap50, ap75 = (float(scoring.stats[index]) for index in range(3))
    return Accuracy(ap, ap50, ap75, by_class, len(pictures), boxes)


def count_boxes(pictures: Sequence[Picture]) -> int:
    """Return how many boxes the labels hold, groups (crowds) left out.

    Raises:
        EdgeError: If there is none, since then there is nothing to score.
    """
    boxes = sum(int((~picture.crowd).sum()) for picture in pictures)
    if boxes == 0:
        raise EdgeError(f"no labelled box in {len(pictures)} pictures; pass labelled data")
    return boxes


def matched(
    pictures: Sequence[Picture], detections: Sequence[Detections], names: Sequence[str]
) -> COCOeval | None:
    """Return pycocotools' scoring with every picture's detections matched to its labels.

    Args:
        pictures: Labelled, labels indexing `names`.
        detections: One for each picture, in the same order.
        names: The classes.

    Returns:
        None where nothing was found, which pycocotools cannot take.
    """
    # Where nothing is scored, its 8 MB are not needed.
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    assert len(pictures) == len(detections), "one Detections for each picture"
    found = _result_records(detections)
    if not found:
        return None
    # pycocotools prints its progress to the output that is ours.
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = _truth(pictures, names)
        truth.createIndex()
        scoring = COCOeval(truth, truth.loadRes(found), "bbox")
        scoring.evaluate()
    return scoring


def _truth(pictures: Sequence[Picture], names: Sequence[str]) -> Record:
    """Return the labels as COCO's dictionary; ids count from 1, as 0 means "no match" there."""
    images: list[Record] = []
    annotations: list[Record] = []
    for number, picture in enumerate(pictures, start=1):
        height, width = picture.size
        images.append({"id": number, "height": height, "width": width})
        rows = zip(picture.boxes, picture.labels, picture.crowd, strict=True)
        for box, label, crowd in rows:
            left, top, right, bottom = map(float, box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(label),
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": int(crowd),
                }
            )
    categories = [{"id": label, "name": name} for label, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _result_records(detections: Sequence[Detections]) -> list[Record]:
    """Return detections as COCO's list of results."""
    return [
        {
            "image_id": number,
            "category_id": int(label),
            "bbox": [left, top, right - left, bottom - top],
            "score": float(score),
        }
        for number, found in enumerate(detections, start=1)
        for (left, top, right, bottom), score, label in zip(
            found.boxes.tolist(), found.scores, found.labels, strict=True
        )
    ]


def _nothing_found(pictures: Sequence[Picture], names: Sequence[str], boxes: int) -> Accuracy:
    labels = np.concatenate([picture.labels[~picture.crowd] for picture in pictures])
    by_class = {names[label]: 0.0 for label in np.unique(labels).tolist()}
    return Accuracy(0.0, 0.0, 0.0, by_class, len(pictures), boxes)
