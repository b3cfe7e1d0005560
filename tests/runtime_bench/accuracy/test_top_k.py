"""Top-1 and top-5 accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime_bench.accuracy.top_k import top_accuracy, wilson_interval
from runtime_bench.artifact.detections import Detections
from runtime_bench.data.pictures import Picture
from runtime_bench.errors import EdgeError

NAMES = tuple("abcdefgh")


def shows(label: int) -> Picture:
    """Return a picture of a class."""
    box = np.array([[0, 0, 4, 4]], np.float32)
    return Picture("p", Path("p"), (4, 4), box, np.array([label]), np.array([False]))


def test_it_is_what_a_slow_count_says() -> None:
    """Over random scores, by sorting all classes."""
    generator = np.random.default_rng(0)
    scores = generator.random((200, len(NAMES)))
    labels = generator.integers(0, 6, 200)
    orders = np.argsort(-scores, axis=1)[:, :5]
    answers = [
        Detections(np.zeros((5, 4)), row[order], order)
        for row, order in zip(scores, orders, strict=True)
    ]

    found = top_accuracy([shows(label) for label in labels], answers, NAMES)

    best = scores.argmax(1)
    assert found.top1 == np.mean(best == labels)
    assert found.top5 == np.mean(
        [(row >= row[label]).sum() <= 5 for row, label in zip(scores, labels, strict=True)]
    )
    assert found.top1_by_class == {
        NAMES[label]: pytest.approx(np.mean(best[labels == label] == label))
        for label in range(6)
    }
    assert found.pictures == 200


@pytest.mark.parametrize(
    ("hits", "count", "interval"),
    [(8, 10, (0.4902, 0.9433)), (0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0))],
)
def test_the_interval_is_wilsons(hits: int, count: int, interval: tuple[float, float]) -> None:
    """As tables of it have them."""
    assert wilson_interval(hits, count) == pytest.approx(interval, abs=1e-4)


def test_nothing_cannot_be_scored() -> None:
    """There is no share of no picture."""
    with pytest.raises(EdgeError, match="no labelled picture"):
        top_accuracy([], [], NAMES)
