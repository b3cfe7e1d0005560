"""An artifact that is held against another one: timed in turn, scored, its memory taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from runtime_bench.accuracy.predictions import Scored, detect_all, score
from runtime_bench.artifact.manifest import Task
from runtime_bench.artifact.opened import open_artifact
from runtime_bench.bench.result import artifact_facts
from runtime_bench.data.dataset import Dataset, match_model
from runtime_bench.runtime.engine_cache import engine_cache
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.fresh_start import start_fresh
from runtime_bench.timing.inputs import in_turn, inputs_of


class Measured:
    """An artifact that can be timed and scored.

    Attributes:
        settings: How onnxruntime runs it.
        opened: It, loaded.
        session: What runs it.
        facts: What it is.
        matched: The data set with the model's own labels; None without data.
    """

    def __init__(
        self, artifact: Path, settings: SessionSettings, dataset: Dataset | None
    ) -> None:
        """Open an artifact.

        Raises:
            EdgeError: If it cannot be opened, or the data has a class that it lacks.
        """
        self.settings = settings
        with engine_cache(settings) as running:
            self.opened = open_artifact(artifact, running)
        self.session, self.facts = self.opened.session, artifact_facts(self.opened)
        self.matched = None if dataset is None else match_model(dataset, self.opened.manifest)

    @property
    def task(self) -> Task:
        """What it does; a file that says nothing of itself is a detector."""
        return "detect" if self.opened.known is None else self.opened.known.task

    @property
    def pictures(self) -> list[Path]:
        """Those of the data set."""
        return [] if self.matched is None else [one.path for one in self.matched.pictures]

    def runner(self, pictures: Sequence[Path]) -> Callable[[], object]:
        """Return a call that runs it on the next picture, or on what is made up."""
        return in_turn(self.session, inputs_of(self.opened, pictures))

    @cached_property
    def accuracy(self) -> Scored:
        """How well it agrees with the labels of the data set."""
        assert self.matched is not None, "checked with the request"
        found = detect_all(self.session.run, self.opened.manifest, self.matched.pictures)
        return score(self.matched, found)

    def memory_bytes(self) -> int | None:
        """Return the peak of a process that loads and runs it; None if the kernel hides it."""
        return start_fresh(
            self.opened.model, shapes=self.opened.shapes, settings=self.settings
        ).peak_bytes
