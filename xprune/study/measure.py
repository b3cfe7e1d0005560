"""Time all artifacts of an architecture in one run, and score them on the same pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime_bench.accuracy.predictions import detect_all
from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.manifest import MODEL_FILE
from runtime_bench.artifact.opened import open_artifact
from runtime_bench.data.dataset import Dataset, Picture, match_model
from runtime_bench.files import sha256_of
from xprune.contest.scoring import Scorer
from xprune.contest.timing import Timed, time_all
from xprune.study.arms import Made
from xprune.study.ground import Ground
from xprune.summary import FIGURES

# What stands in for accuracy where there is none: the unpruned network is the truth.
SAME_ANSWERS = "same_answers"


def time_arms(ground: Ground, made: Sequence[Made]) -> Timed:
    """Return the latencies of all artifacts as shares of the unpruned one's."""
    bench = ground.bench
    base = ground.base
    # The unpruned one is timed against itself as well: what a ratio is with nothing changed.
    artifacts = {sha256_of(base / MODEL_FILE): base}
    artifacts |= {one.sha256: one.artifact for one in made if one.artifact is not None}
    ground.say(f"Timing {1 + len(artifacts)} artifacts of {ground.entry.name} in turn")

    def opener(folder: Path) -> Callable[[], Callable[[], object]]:
        return lambda: bench.runner(folder / MODEL_FILE)

    return time_all(
        ground.folder,
        opener(base),
        {digest: opener(folder) for digest, folder in artifacts.items()},
        base_sha256=sha256_of(base / MODEL_FILE),
        session=bench.session,
        seed=0,
        most_time_s=ground.study.timing_seconds,
    )


class Figures:
    """Scores artifacts of one architecture, by labels or by the unpruned network's answers.

    Attributes:
        key: What the figure is called: `ap`, `top1`, `same_answers`; None if there is none.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        bench = ground.bench
        test: Dataset | None = ground.pictures.test
        if ground.has_accuracy:
            self.key: str | None = FIGURES[bench.detector.task][0][0]
        else:
            # Random weights say the same of every picture, whatever is taken out of them.
            self.key = SAME_ANSWERS
            test = own_answers(ground) if ground.entry.trained else None
        if test is None:
            self.key = None
        self._scorer = (
            None if test is None else Scorer(ground.folder, test, bench.session, seed=0)
        )

    def of_base(self) -> dict[str, Any]:
        """Return the unpruned artifact's accuracy; none where itself would be the truth."""
        if self._scorer is None or self.key is None or self.key == SAME_ANSWERS:
            return {}
        base = self._ground.base
        return {
            self.key: self._scorer.accuracy(base),
            f"{self.key}_interval": list(self._scorer.interval(base)),
        }

    def of(self, artifact: Path) -> dict[str, Any]:
        """Return an artifact's figure with its 95 % interval, and the share that is kept."""
        if self._scorer is None or self.key is None:
            return {}
        figures: dict[str, Any] = {
            self.key: self._scorer.accuracy(artifact),
            f"{self.key}_interval": list(self._scorer.interval(artifact)),
        }
        if self.key != SAME_ANSWERS:
            kept, interval = self._scorer.ratio(artifact, self._ground.base)
            figures[f"{self.key}_ratio"] = kept
            figures[f"{self.key}_ratio_interval"] = None if interval is None else list(interval)
        return figures


def own_answers(ground: Ground) -> Dataset | None:
    """Return the test pictures with what the unpruned artifact says; None if that is nothing.

    Of boxes those count that a person would be shown, of classes the best one.
    """
    opened = open_artifact(ground.base, ground.bench.session)
    test = replace(ground.pictures.test, labelled=True, task=ground.bench.detector.task)
    matched = match_model(test, opened.manifest)
    found = detect_all(opened.session.run, opened.manifest, matched.pictures)
    least = ground.study.conf if matched.task == "detect" else 0.0
    pictures = tuple(
        _with(picture, answer, least, one=matched.task == "classify")
        for picture, answer in zip(matched.pictures, found, strict=True)
    )
    if not any(len(picture.boxes) for picture in pictures):
        return None
    return replace(matched, pictures=pictures)


def _with(picture: Picture, answer: Detections, least: float, *, one: bool) -> Picture:
    kept = np.flatnonzero(answer.scores >= least)[: 1 if one else None]
    return replace(
        picture,
        boxes=answer.boxes[kept],
        labels=answer.labels[kept],
        crowd=np.zeros(len(kept), np.bool_),
    )
