"""How far does an AP depend on which pictures were scored? Intervals by resampling pictures.

The average precision of a set in which picture p stands w[p] times is what pycocotools computes
on that set; here it is taken from matches that were made once, for thousands of such sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pycocotools.cocoeval import Params

from runtime_bench.accuracy.coco import count_boxes, matched
from runtime_bench.artifact.detections import Detections
from runtime_bench.data.pictures import Picture

CONFIDENCE = 0.95
OVERLAPS: npt.NDArray[np.float64] = Params("bbox").iouThrs
RECALLS: npt.NDArray[np.float64] = Params("bbox").recThrs
MOST_DETECTIONS = 100
# Weights of detections held in memory at once; 8 bytes each.
LARGEST_DRAW = 4_000_000

Weights = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Matches:
    """Which detections on P pictures are right, at each of the O overlaps 0.50, 0.55, ... 0.95.

    Detections are in the order in which they count: by class, the highest score first, equal
    ones in the order of the pictures.

    Attributes:
        label: (N,) class of each detection.
        picture: (N,) the picture that it is in.
        right: (O, N) whether it is matched with a box that no better detection took.
        ignored: (O, N) whether it does not count: it is matched with a group (crowd).
        boxes: (P, C) boxes of each class in each picture, groups left out.
    """

    label: Ints
    picture: Ints
    right: Bools
    ignored: Bools
    boxes: Ints


def match_pictures(
    pictures: Sequence[Picture], detections: Sequence[Detections], names: Sequence[str]
) -> Matches:
    """Match detections with labels as pycocotools does, at most 100 of a class and picture.

    Args:
        pictures: Labelled, labels indexing `names`.
        detections: One for each picture, in the same order.
        names: The classes.

    Raises:
        EdgeError: If the pictures hold no box at all, since then there is nothing to score.
    """
    count_boxes(pictures)
    boxes = np.zeros((len(pictures), len(names)), np.int64)
    for row, picture in zip(boxes, pictures, strict=True):
        np.add.at(row, picture.labels[~picture.crowd], 1)
    scoring = matched(pictures, detections, names)
    # Ordered by class, then range of areas (the first one: all), then picture.
    entries = [] if scoring is None else list(_of_all_areas(scoring.evalImgs, len(pictures)))
    none = np.zeros((len(OVERLAPS), 0), bool)
    scores, labels, places, right, ignored = (
        np.concatenate([part, *(entry[index] for entry in entries)], axis=-1)
        for index, part in enumerate((np.zeros(0), np.zeros(0), np.zeros(0), none, none))
    )
    order = np.lexsort((-scores, labels))  # stable, as pycocotools sorts
    return Matches(
        label=labels[order].astype(np.int64),
        picture=places[order].astype(np.int64),
        right=right[:, order] & ~ignored[:, order],
        ignored=ignored[:, order],
        boxes=boxes,
    )


def average_precisions(matches: Matches, weights: Weights) -> npt.NDArray[np.float64]:
    """Return the AP of each of R sets of pictures.

    Args:
        matches: Of P pictures.
        weights: (R, P) how often each picture stands in each set.

    Returns:
        (R,) the same as pycocotools gives for such a set, where it lists the pictures in their
        order and no picture has two detections of a class with the very same score; NaN for a
        set without a box.
    """
    boxes = weights @ matches.boxes  # (R, C)
    # Thousands of sets of thousands of pictures: small numbers are several times as fast.
    small = weights.astype(np.min_scalar_type(int(weights.max(initial=0))))
    total = np.zeros(len(weights))
    for label in np.unique(matches.label).tolist():
        of_class = np.flatnonzero(matches.label == label)
        for overlaps, counting in _ignoring_alike(matches.ignored[:, of_class]):
            wanted = of_class[counting]
            total += _precisions(
                matches.picture[wanted],
                matches.right[np.ix_(overlaps, wanted)],
                weights=small,
                boxes=boxes[:, label],
            )
    classes = (boxes > 0).sum(1)
    with np.errstate(invalid="ignore"):
        result: npt.NDArray[np.float64] = np.where(
            classes > 0, total / (classes * len(OVERLAPS)), np.nan
        )
    return result


def draw_pictures(count: int, *, draws: int, seed: int) -> Weights:
    """Return (draws, count) how often each picture is drawn, `count` times with replacement."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(count, np.full(count, 1 / count), size=draws)


def interval_of(values: npt.NDArray[np.float64], *, centre: float) -> tuple[float, float]:
    """Return the 95 % interval (low, high) around `centre` that resampled values spread over.

    A set in which pictures repeat scores higher than one of as many different pictures: of a
    class on few pictures all boxes are there twice, or none, and then it does not count. So the
    values are shifted until their mean is what was measured on all pictures once (Efron and
    Tibshirani 1993, section 10: the bootstrap's estimate of bias). NaN is left out.

    Args:
        values: (R,) one for each set.
        centre: The same of all pictures, each once.
    """
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values - np.nanmean(values), [tail, 1 - tail])
    return centre + float(low), centre + float(high)


def _ignoring_alike(ignored: Bools) -> Iterator[tuple[Ints, Bools]]:
    """Yield the overlaps (K,) at which the same detections count, and which those are (N,).

    Without crowds all overlaps are alike, and the detections are gone through once, not ten
    times.

    Args:
        ignored: (O, N) of one class.
    """
    kinds, kind_of = np.unique(ignored, axis=0, return_inverse=True)
    for number, kind in enumerate(kinds):
        yield np.flatnonzero(kind_of.reshape(-1) == number), ~kind


def _precisions(
    picture: Ints, right: Bools, *, weights: npt.NDArray[np.unsignedinteger], boxes: Ints
) -> npt.NDArray[np.float64]:
    """Return (R,) the sum over overlaps of the mean precision over recalls, of one class.

    Only the places of right detections matter: between them recall stands still and precision
    falls. A class without a box in a set counts as 0; the caller leaves it out of the mean.

    Args:
        picture: (N,) of each detection, in the order of scores.
        right: (O, N) at each overlap.
        weights: (R, P) how often each picture stands in each set.
        boxes: (R,) boxes of the class in each set.
    """
    result = np.zeros(len(weights))
    places_at = [places for row in right if len(places := np.flatnonzero(row))]
    if not places_at:
        return result
    # What comes after the last right one changes nothing.
    picture = picture[: max(int(places[-1]) for places in places_at) + 1]
    at_once = max(1, LARGEST_DRAW // len(picture))
    for start in range(0, len(weights), at_once):
        rows = slice(start, start + at_once)
        drawn = weights[rows].take(picture, axis=1)  # (r, N)
        listed = np.cumsum(drawn, axis=1, dtype=np.int32)
        of_boxes = np.maximum(boxes[rows], 1)[:, None]
        for places in places_at:
            found = np.cumsum(drawn[:, places], axis=1, dtype=np.int32).astype(float)
            precision = found / (listed[:, places] + np.spacing(1))
            best_later = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            steps = np.diff(_reached(found / of_boxes), axis=1, prepend=0)
            result[rows] += (best_later * steps).sum(1) / len(RECALLS)
    return np.where(boxes > 0, result, 0.0)


def _reached(recall: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Return how many of `RECALLS` each recall, from 0 to 1, has reached.

    The same as searching for each, which takes ten times as long: the steps are even, so the
    place is known but for the last bit.
    """
    last = len(RECALLS) - 1
    place = (recall * last).astype(np.int32)
    place -= RECALLS[place] > recall
    place += RECALLS[np.minimum(place + 1, last)] <= recall
    return np.minimum(place, last) + 1


_Entry = tuple[
    npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], Bools, Bools
]


def _of_all_areas(entries: Sequence[dict[str, object] | None], count: int) -> Iterator[_Entry]:
    """Yield score, label, picture, right and ignored of each class in each picture.

    Args:
        entries: What `COCOeval.evaluate` left: for each class and range of areas, pictures.
        count: How many pictures there are.
    """
    areas = len(Params("bbox").areaRng)
    for number, entry in enumerate(entries):
        if entry is None or (number // count) % areas:
            continue
        scores = np.asarray(entry["dtScores"], float)[:MOST_DETECTIONS]
        same = np.ones_like(scores)
        yield (
            scores,
            same * float(str(entry["category_id"])),
            same * (number % count),
            np.asarray(entry["dtMatches"])[:, :MOST_DETECTIONS] > 0,
            np.asarray(entry["dtIgnore"], bool)[:, :MOST_DETECTIONS],
        )
