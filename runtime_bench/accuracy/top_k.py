"""How often a classifier's best answers hold the right class."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from runtime_bench.artifact.detections import Detections
from runtime_bench.data.pictures import Picture
from runtime_bench.errors import EdgeError

Z_95 = 1.959963984540054


@dataclass(frozen=True)
class ClassAccuracy:
    """Shares of pictures, from 0 to 1.

    Attributes:
        top1: Whose class is the best answer.
        top1_interval: Where it may lie with 95 %, by Wilson's score (1927).
        top5: Whose class is among the five best answers.
        top1_by_class: `top1` of each class that a picture shows.
        pictures: How many were scored.
    """

    top1: float
    top1_interval: tuple[float, float]
    top5: float
    top1_by_class: dict[str, float]
    pictures: int


def top_accuracy(
    pictures: Sequence[Picture], answers: Sequence[Detections], names: Sequence[str]
) -> ClassAccuracy:
    """Score answers, best first, against the class of each picture.

    Args:
        pictures: Each with one label, which indexes `names`.
        answers: One for each picture, in the same order, at least five labels in each if there
            are so many classes.
        names: The classes.

    Raises:
        EdgeError: If there is no picture.
    """
    assert len(pictures) == len(answers), "one answer for each picture"
    if not pictures:
        raise EdgeError("there is no labelled picture to score; pass labelled data")
    shown, right, among_five = Counter[int](), Counter[int](), 0
    for picture, answer in zip(pictures, answers, strict=True):
        label = int(picture.labels[0])
        best = answer.labels[:5].tolist()
        shown[label] += 1
        right[label] += best[:1] == [label]
        among_five += label in best
    count, hits = len(pictures), right.total()
    return ClassAccuracy(
        top1=hits / count,
        top1_interval=wilson_interval(hits, count),
        top5=among_five / count,
        top1_by_class={names[label]: right[label] / shown[label] for label in sorted(shown)},
        pictures=count,
    )


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Return where a share lies with 95 %, after `hits` of `count`."""
    share, spread = hits / count, Z_95**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
