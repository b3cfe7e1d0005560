"""Reach a saving in rounds: cut a part, solve, score what is left anew, and go on.

Scores change once neighbours are gone, so Pruning by Explaining (Yeom et al. 2021) removes 5 %
a step. What an earlier round chose stays chosen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

from runtime_bench.errors import EdgeError
from xprune.attribution.scores import Scores, read_scores, write_scores
from xprune.layers.candidates import nested
from xprune.layers.substitutes import replacement
from xprune.pruning.knapsack import Option
from xprune.pruning.latency_table import LatencyTable
from xprune.pruning.options import parents_of, timed_options
from xprune.pruning.plan import (
    PrunePlan,
    Request,
    plan_by_time,
    plan_of_options,
)
from xprune.recovery.refit import refit
from xprune.run_folder import RunFolder
from xprune.search.problem import Plan, Problem, key_of
from xprune.stages.attribute import SCORES_FILE, compute_scores
from xprune.stages.cutting import cut_network, layers_to_solve
from xprune.stages.workbench import Workbench

# What an arm of the same run takes over from its workbench.
SHARED = ("sets", "calibration", "targets", "size", "spec")


def propose_in_rounds(
    bench: Workbench, scores: Scores, table: LatencyTable, asked: Request
) -> Callable[[float], PrunePlan]:
    """Return what makes a plan for a wanted saving in the run's number of rounds."""
    return _Rounds(bench, scores, table, asked)


class _Rounds:
    """Plans round by round; a plan that is corrected changes its last round alone."""

    def __init__(
        self, bench: Workbench, scores: Scores, table: LatencyTable, asked: Request
    ) -> None:
        self.bench, self.scores, self.table, self.asked = bench, scores, table, asked
        self.parents = parents_of(scores)
        self.first_s: float | None = None

    def __call__(self, wanted_s: float) -> PrunePlan:
        config = self.bench.run.config
        count = config.rounds
        # The rounds before the last follow the first wish, so that their scores serve again.
        self.first_s = min(self.first_s or wanted_s, wanted_s / (1 - 0.5 / count))
        kept: Plan = ()
        options: dict[tuple[str, str], Option] = {}
        for number in range(1, count + 1):
            target_s = wanted_s if number == count else self.first_s * number / count
            scores = self._scores(number, kept)
            options |= {
                (option.layer, option.substitute): option
                for option in timed_options(
                    scores, self.table, config.criterion, config.substitute
                )
            }
            problem = Problem(self.parents, list(options.values()), target_s)
            made = problem.cheapest(problem.costs, kept=kept)
            if made is None:
                return self._unreachable(wanted_s)
            kept = made
        made_plan = plan_of_options(
            self.scores,
            self.table,
            kept,
            criterion=config.criterion,
            asked=self.asked,
            options=list(options.values()),
        )
        return replace(made_plan, rounds=count)

    def _unreachable(self, wanted_s: float) -> PrunePlan:
        config = self.bench.run.config
        plan_by_time(  # says what is not reachable, and by how much
            self.scores,
            self.table,
            criterion=config.criterion,
            substitute=config.substitute,
            asked=self.asked,
            wanted_s=wanted_s,
        )
        raise EdgeError(
            f"{self.asked} is not reachable in {config.rounds} rounds, since what the first "
            "ones chose stays chosen; ask for fewer --rounds"
        )

    def _scores(self, number: int, kept: Plan) -> Scores:
        """Return the scores once `kept` is gone, from the run's folder if they are there."""
        if not kept:
            return self.scores
        run = self.bench.run
        path = run.file(f"scores-{number}-{_digest(run, kept)}.json")
        if not path.exists():
            self.bench.say(f"Round {number}: scoring what is left of {len(kept)} layers less")
            write_scores(path, compute_scores(self._arm(kept)))
        return read_scores(path)

    def _arm(self, kept: Plan) -> Workbench:
        """Return a workbench of the cut and solved network, and of the layers left in it."""
        bench, config = self.bench, self.bench.run.config
        candidates = {candidate.name: candidate for candidate in self.scores.candidates}
        cut, replaced = cut_network(
            bench,
            self.scores,
            [replacement(candidates[option.layer], option.substitute) for option in kept],
        )
        names = [wanted.layer for wanted in replaced]
        refit(
            bench.detector.network,
            cut,
            bench.calibration.images(),
            run=bench.forward,
            layers=layers_to_solve(
                cut, names, self.scores, convolutions=config.recover == "refit"
            ),
        )
        arm = Workbench(bench.run, bench.say)
        vars(arm).update({name: getattr(bench, name) for name in SHARED})
        vars(arm)["detector"] = replace(bench.detector, network=cut)
        vars(arm)["candidates"] = tuple(
            candidate
            for candidate in self.scores.candidates
            if not any(nested(candidate.name, name) for name in names)
        )
        return arm


def _digest(run: RunFolder, kept: Plan) -> str:
    facts = [
        run.file(SCORES_FILE).read_text(encoding="utf-8"),
        run.config.recover,
        key_of(kept),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
