"""Plans for a wanted saving: by the scores alone, by a search, or in rounds of scoring.

All three are one function from the seconds that are wanted to a plan; what times the plans does
not know which it has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial

import torch

from exporters.metadata import package_version
from runtime_bench.errors import EdgeError
from runtime_bench.progress import status_line
from xprune.attribution.scores import Scores
from xprune.layers.substitutes import applicable
from xprune.pruning.knapsack import Option
from xprune.pruning.latency_table import LatencyTable
from xprune.pruning.options import parents_of, timed_options
from xprune.pruning.plan import (
    PrunePlan,
    Request,
    plan_by_time,
    plan_of_options,
)
from xprune.search import fitness as fitness_module
from xprune.search.evaluations import Clock, Evaluation, Evaluations, Journal
from xprune.search.fitness import PlanFitness
from xprune.search.methods import Found, search
from xprune.search.problem import Problem, name_of, saved_s
from xprune.stages.cutting import cut_network, layers_to_solve
from xprune.stages.rounds import propose_in_rounds
from xprune.stages.workbench import Workbench

SEARCH_FILE = "search.jsonl"
# Criteria whose exact plans are seeds as well, where the scores hold them.
SEED_CRITERIA = ("fisher", "removal", "grad_act")
# Of the calibration pictures so many are solved on and so many looked at, if there are so many.
FITTED, LOOKED_AT = 32, 32
# The first plan gets most of the seconds; when it is timed and misses, each next one half of
# what is left, and all that was tried before counts.
FIRST_SHARE, NEXT_SHARE = 0.6, 0.5

Propose = Callable[[float], PrunePlan]


def proposer(bench: Workbench, scores: Scores, table: LatencyTable, asked: Request) -> Propose:
    """Return what makes a plan for a wanted saving in seconds, as the run's options say.

    Raises:
        EdgeError: If a search is asked for and there are too few calibration pictures.
    """
    config = bench.run.config
    if config.search != "none":
        return _Searching(bench, scores, table, asked)
    if config.rounds > 1:
        return propose_in_rounds(bench, scores, table, asked)
    return lambda wanted_s: plan_by_time(
        scores,
        table,
        criterion=config.criterion,
        substitute=config.substitute,
        asked=asked,
        wanted_s=wanted_s,
    )


class _Searching:
    """Searches anew for each wanted saving, all searches within the run's seconds."""

    def __init__(
        self,
        bench: Workbench,
        scores: Scores,
        table: LatencyTable,
        asked: Request,
        clock: Clock = time.monotonic,
    ) -> None:
        count = len(bench.calibration.pixels)
        if count < 2:
            raise EdgeError(
                f"--search {bench.run.config.search} needs 2 calibration pictures at least, "
                f"and there is {count}; give more --calibration-images"
            )
        self.bench, self.scores, self.table, self.asked = bench, scores, table, asked
        self.options = list(self._options(bench.run.config.criterion))
        self.parents = parents_of(scores)
        self.fitted = min(FITTED, count // 2)
        self.looked_at = min(LOOKED_AT, count - self.fitted)
        # Solving the convolutions that stay takes most of the time and changes the order of
        # plans little: it is left to the finals.
        self.evaluations = self._tries(clock, convolutions=False)
        refits = bench.run.config.recover == "refit"
        self.finals = self._tries(clock, convolutions=True) if refits else None
        # For another machine one plan is made, which cannot be timed here.
        self.share = FIRST_SHARE if bench.run.config.latency_table is None else 1.0
        self.told = 0

    def __call__(self, wanted_s: float) -> PrunePlan:
        config = self.bench.run.config
        problem = Problem(
            self.parents,
            self.options,
            wanted_s,
            seed=config.seed,
            other_costs=self._other_costs(),
        )
        spent_s = self.evaluations.spent_s + (self.finals.spent_s if self.finals else 0.0)
        with status_line() as show:
            for tries in (self.evaluations, *([self.finals] if self.finals else [])):
                tries.on_tried = _showing(show, partial(self._shown, problem, tries))
            found = search(
                problem,
                config.search,
                self.evaluations,
                limit_s=max(config.search_seconds - spent_s, 0.0) * self.share,
                finals=self.finals,
            )
        self.share = NEXT_SHARE
        if found is None:
            # Says what is not reachable, and by how much.
            return plan_by_time(
                self.scores,
                self.table,
                criterion=config.criterion,
                substitute=config.substitute,
                asked=self.asked,
                wanted_s=wanted_s,
            )
        if found.evaluations > self.told:  # once, however often the same plans are asked for
            self.told = found.evaluations
            self.bench.say(_summary(found))
        return self._plan(found)

    def _plan(self, found: Found) -> PrunePlan:
        config = self.bench.run.config
        made = plan_of_options(
            self.scores,
            self.table,
            found.best.plan,
            criterion=config.criterion,
            asked=self.asked,
            options=self.options,
        )
        why = f"in the best of {found.evaluations} plans that were tried ({config.search}); "
        return replace(
            made,
            choices=tuple(replace(c, reason=f"{why}{c.reason}") for c in made.choices),
            search=config.search,
            evaluations=found.evaluations,
            search_seconds=found.seconds,
            fitness=found.best.fitness,
            fitness_of_scores=found.first.fitness if found.first else None,
        )

    def _options(self, criterion: str) -> Sequence[Option]:
        substitute = self.bench.run.config.substitute
        return list(timed_options(self.scores, self.table, criterion, substitute))

    def _other_costs(self) -> list[dict[tuple[str, str], float]]:
        known = {table.criterion for table in self.scores.tables}
        return [
            {name_of(option): option.cost for option in self._options(criterion)}
            for criterion in SEED_CRITERIA
            if criterion in known and criterion != self.bench.run.config.criterion
        ]

    def _tries(self, clock: Clock, *, convolutions: bool) -> Evaluations:
        settings = self._settings() | {"convolutions": convolutions}
        return Evaluations(
            _Lazy(lambda: self._fitness(convolutions=convolutions)),
            clock=clock,
            journal=Journal(self.bench.run.file(SEARCH_FILE), settings),
        )

    def _fitness(self, *, convolutions: bool) -> PlanFitness:
        return self._on_records.solving(
            lambda cut, replaced: layers_to_solve(
                cut,
                [wanted.layer for wanted in replaced],
                self.scores,
                convolutions=convolutions,
            )
        )

    @cached_property
    def _on_records(self) -> PlanFitness:
        bench = self.bench
        bench.say(
            f"Searching ({bench.run.config.search}): plans are solved on {self.fitted} "
            f"pictures and looked at on {self.looked_at} others"
        )
        return PlanFitness(
            bench.detector.network,
            self.scores.candidates,
            bench.calibration.images(0, self.fitted + self.looked_at),
            fitted=self.fitted,
            run=bench.forward,
            distances=bench.family.output_divergences,
            cut=lambda chosen: cut_network(bench, self.scores, chosen),
            solvable=lambda cut, replaced: [wanted.layer for wanted in replaced],
        )

    def _settings(self) -> dict[str, object]:
        """Return all that a fitness depends on besides the plan."""
        bench = self.bench
        pictures = bench.sets.calibration.pictures[: self.fitted + self.looked_at]
        return {
            "version": fitness_module.VERSION,
            "weights_sha256": bench.detector.weights_sha256,
            "model": bench.detector.name,
            "imgsz": list(bench.size),
            "pictures": [picture.name for picture in pictures],
            "fitted": self.fitted,
            "seed": bench.run.config.seed,
            "layers": [[c.name, *applicable(c)] for c in self.scores.candidates],
            "xprune-edge": package_version("xprune-edge"),
            "torch": torch.__version__,
        }

    def _shown(self, problem: Problem, evaluations: Evaluations) -> str:
        tried = evaluations.tried.values()
        enough = [one for one in tried if problem.saves_enough(one.plan)]
        best = min(enough, key=lambda one: one.fitness) if enough else None
        left_s = max(evaluations.left_s, 0.0)
        if best is None:
            return f"{len(tried)} plans tried, {left_s:.0f} s left"
        layers = ", ".join(f"{o.layer} → {o.substitute}" for o in best.plan)
        speedup = self.table.base_s / max(self.table.base_s - saved_s(best.plan), 1e-9)
        return (
            f"best of {len(tried)} plans: outputs move by {best.fitness:.4g} at {speedup:.3f} "
            f"times the speed (predicted), {left_s:.0f} s left: {layers}"
        )


class _Lazy:
    """Makes the fitness when the first plan is tried: a search that knows all needs none."""

    def __init__(self, make: Callable[[], PlanFitness]) -> None:
        self.make = make
        self.made: PlanFitness | None = None

    def __call__(self, plan: tuple[Option, ...]) -> float:
        if self.made is None:
            self.made = self.make()
        return self.made(plan)


def _showing(
    show: Callable[[str], None], line: Callable[[], str]
) -> Callable[[Evaluation], None]:
    return lambda tried: show(line())


def _summary(found: Found) -> str:
    scores = f", that of the scores alone by {found.first.fitness:.4g}" if found.first else ""
    return (
        f"Tried {found.evaluations} plans in {found.seconds:.0f} s: the best moves the outputs "
        f"by {found.best.fitness:.4g}{scores}"
    )
