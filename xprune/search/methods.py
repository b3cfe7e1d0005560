"""The searches by name, and what one of them finds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from xprune.search.beam import beam
from xprune.search.dp import dp
from xprune.search.evaluations import Evaluation, Evaluations, OutOfTime
from xprune.search.evolution import evolution
from xprune.search.problem import Problem, key_of

METHODS: dict[str, Callable[[Problem, Evaluations], None]] = {
    "evolution": evolution,  # Mixed Sparsity Pruning
    "beam": beam,  # Block Pruning, wider
    "dp": dp,  # joint layer-adaptive pruning
}


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        best: The plan of the lowest fitness among those that save enough.
        first: The plan that the scores alone give.
        evaluations: Plans that were tried, in this search and those before it.
        seconds: That they took, those before it included.
    """

    best: Evaluation
    first: Evaluation
    evaluations: int
    seconds: float


def search(
    problem: Problem, method: str, evaluations: Evaluations, *, limit_s: float
) -> Found | None:
    """Look for the best plan for `limit_s` seconds; None when no plan saves enough.

    The plan that the scores alone give is always tried, so what is found is never worse.

    Args:
        problem: What is wanted.
        method: A key of `METHODS`.
        evaluations: Tries plans; what it knows already is used.
        limit_s: Seconds from now.
    """
    evaluations.begin(limit_s)
    if not problem.seeds:
        return None
    first = problem.seeds[0]
    evaluations.evaluate(first, anyway=True)
    with contextlib.suppress(OutOfTime):
        METHODS[method](problem, evaluations)
    known = evaluations.known(problem)
    enough = [tried for tried in known if problem.saves_enough(tried.plan)]
    best = min(enough, key=lambda tried: tried.fitness)  # of equals the one tried first
    return Found(
        best=best,
        first=evaluations.tried[key_of(first)],
        evaluations=len(evaluations.tried),
        seconds=evaluations.spent_s,
    )
