"""What was tried: each plan once, in the seconds that are given, kept in a file at once.

A line of the file is one plan and its fitness. A search that was stopped asks for the same
plans again, finds them here, and counts the seconds that they took then: so it goes the same
way, and on from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime_bench.errors import EdgeError
from xprune.search.problem import Key, Plan, Problem, key_of

Clock = Callable[[], float]
Fitness = Callable[[Plan], float]


class OutOfTime(Exception):  # noqa: N818 - it is no error
    """The seconds are used up; what was found so far holds."""


@dataclass(frozen=True)
class Evaluation:
    """A plan that was tried.

    Attributes:
        plan: Its options.
        fitness: The lower the better; infinite where the plan leaves nothing that works.
        seconds: That trying it took.
    """

    plan: Plan
    fitness: float
    seconds: float


class Evaluations:
    """Tries plans, and remembers.

    Attributes:
        spent_s: Seconds used so far, those that remembered plans took included.
        tried: The evaluations of this process, in the order in which they were asked for.
    """

    def __init__(
        self,
        fitness: Fitness,
        *,
        clock: Clock,
        journal: Journal | None = None,
        on_tried: Callable[[Evaluation], object] = lambda evaluation: None,
    ) -> None:
        self.fitness = fitness
        self.clock = clock
        self.journal = journal
        self.on_tried = on_tried
        self.spent_s = 0.0
        self.tried: dict[Key, Evaluation] = {}
        self._limit_s = math.inf
        self._noted_s = clock()

    def begin(self, limit_s: float) -> None:
        """Begin a search that may take `limit_s` seconds from now."""
        self._noted_s = self.clock()
        self._limit_s = self.spent_s + limit_s

    @property
    def left_s(self) -> float:
        """Seconds that the search still has."""
        self._note()
        return self._limit_s - self.spent_s

    def knows(self, plan: Plan) -> bool:
        """Whether the plan was tried in this process already, and costs no time."""
        return key_of(plan) in self.tried

    def known(self, problem: Problem) -> list[Evaluation]:
        """Return all plans of the problem's options with a fitness, from a file as well."""
        tried = list(self.tried.values())
        kept = self.journal.known() if self.journal else {}
        for key, (fitness, seconds) in kept.items():
            if key not in self.tried and all(name in problem.by_name for name in key):
                plan = tuple(problem.by_name[name] for name in key)
                tried.append(Evaluation(plan, fitness, seconds))
        return tried

    def evaluate(self, plan: Plan, *, anyway: bool = False) -> float:
        """Return the plan's fitness.

        Args:
            plan: Its options.
            anyway: Try it even when no time is left.

        Raises:
            OutOfTime: If it is not known and the seconds are used up.
        """
        key = key_of(plan)
        if key in self.tried:
            return self.tried[key].fitness
        if self.left_s <= 0 and not anyway:
            raise OutOfTime
        known = self.journal.find(key) if self.journal else None
        if known is None:
            fitness = self.fitness(plan)
            before_s = self.spent_s
            self._note()
            evaluation = Evaluation(
                plan, _worst_if_not_finite(fitness), self.spent_s - before_s
            )
            if self.journal:
                self.journal.append(key, evaluation)
        else:
            evaluation = Evaluation(plan, *known)
            self.spent_s += evaluation.seconds
        self.tried[key] = evaluation
        self.on_tried(evaluation)
        return evaluation.fitness

    def evaluate_at_least(self, plan: Plan, *, anyway: bool) -> None:
        """Try a plan, if there is time for it or `anyway`."""
        with contextlib.suppress(OutOfTime):
            self.evaluate(plan, anyway=anyway)

    def _note(self) -> None:
        """Add the seconds since the last look at the clock: planning costs time as well."""
        now_s = self.clock()
        self.spent_s += now_s - self._noted_s
        self._noted_s = now_s


class Journal:
    """The file of the evaluations; a line that a kill tore is cut off, and made again."""

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        """Read what is known under just these settings.

        Args:
            path: One JSON object a line.
            settings: All that a fitness depends on besides the plan.

        Raises:
            EdgeError: If the file holds something else.
        """
        self.path = path
        exact = json.dumps(settings, sort_keys=True).encode()
        self.settings = hashlib.sha256(exact).hexdigest()[:16]
        self._known: dict[Key, tuple[float, float]] = {}
        if path.exists():
            self._read()

    def find(self, key: Key) -> tuple[float, float] | None:
        """Return the plan's fitness and the seconds it took, if it is known."""
        return self._known.get(key)

    def known(self) -> Mapping[Key, tuple[float, float]]:
        """Return all that is known under these settings."""
        return self._known

    def append(self, key: Key, evaluation: Evaluation) -> None:
        """Keep an evaluation; it is on the disk when this returns."""
        self._known[key] = (evaluation.fitness, evaluation.seconds)
        finite = math.isfinite(evaluation.fitness)
        entry = {
            "plan": [list(name) for name in key],
            "fitness": evaluation.fitness if finite else None,
            "seconds": evaluation.seconds,
            "settings": self.settings,
        }
        line = json.dumps(entry, allow_nan=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise EdgeError(
                f"cannot write '{self.path}': {(error.strerror or str(error)).lower()}"
            ) from error

    def _read(self) -> None:
        try:
            content = self.path.read_bytes()
            whole, _, torn = content.rpartition(b"\n")
            if torn:
                os.truncate(self.path, len(content) - len(torn))
        except OSError as error:
            raise EdgeError(
                f"cannot read '{self.path}': {(error.strerror or str(error)).lower()}"
            ) from error
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = json.loads(line)
                key = tuple((str(layer), str(name)) for layer, name in entry["plan"])
                fitness, seconds = entry["fitness"], float(entry["seconds"])
                value = math.inf if fitness is None else float(fitness)
                if not (seconds >= 0 and value == value):
                    raise ValueError("numbers that are none")
                settings = entry["settings"]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise EdgeError(
                    f"line {number} of '{self.path}' is no evaluation of a search; remove the "
                    "file to search again"
                ) from error
            if settings == self.settings:
                self._known[key] = (value, seconds)


def _worst_if_not_finite(fitness: float) -> float:
    return fitness if math.isfinite(fitness) else math.inf
