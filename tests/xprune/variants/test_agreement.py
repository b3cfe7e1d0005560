"""What counts as the truth where nobody labelled it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runtime_bench.data.dataset import Dataset, Picture
from xprune.variants import agreement
from xprune.variants.agreement import Agreement, reference_size, surer_half


@pytest.mark.parametrize(
    ("others", "roughly", "closely"),
    [
        (2000, range(2000 - 256, 2000), range(2000 - 1024, 2000)),
        (300, range(300 - 256, 300), range(300)),
        (63, range(-64, 0), range(-64, 0)),  # too few: those that layers are scored on
    ],
)
def test_the_few_that_were_tried_are_told_apart_on_more_pictures(
    others: int, roughly: range, closely: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds still for a recovery, the last pictures, is among both."""
    scored: list[list[int]] = []

    def score(dataset: Dataset, found: Any) -> Any:
        scored.append([int(picture.name) for picture in dataset.pictures])
        return SimpleNamespace(ap=0.5)

    monkeypatch.setattr(agreement, "score", score)
    monkeypatch.setattr(Agreement, "_detect", lambda *others: [])
    sets = SimpleNamespace(
        calibration=SimpleNamespace(labelled=True, pictures=_pictures(range(-64, 0)))
    )
    bench: Any = SimpleNamespace(
        sets=sets,
        others=SimpleNamespace(pictures=_pictures(range(others))),
        card=SimpleNamespace(names=("a",), task="detect"),
    )

    judge = Agreement(bench)
    judge.roughly(b"", (64, 64))
    judge.of(b"", (64, 64))

    assert scored == [list(roughly), list(closely)]


def test_of_what_is_sure_enough_the_surer_half_counts():
    """What is below the limit is no part of it."""
    scores = np.array([0.9, 0.01, 0.3, 0.5, 0.7, 0.2])

    assert surer_half(scores, 0.25) == 0.6
    assert surer_half(scores, 0.95) == 0.95


def test_it_looks_at_twice_the_size_or_at_640_px():
    """Sides are multiples of the stride, and never smaller than they were."""
    assert reference_size((320, 320), 32) == (640, 640)
    assert reference_size((256, 448), 32) == (352, 640)
    assert reference_size((96, 128), 32) == (192, 256)
    assert reference_size((640, 960), 32) == (640, 960)


def _pictures(numbers: range) -> tuple[Picture, ...]:
    none = np.zeros(0)
    return tuple(
        Picture(
            path=Path(str(number)),
            name=str(number),
            size=(8, 8),
            boxes=none.reshape(0, 4).astype(np.float32),
            labels=none.astype(np.int64),
            crowd=none.astype(bool),
        )
        for number in numbers
    )
