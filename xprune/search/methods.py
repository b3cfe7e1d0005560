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

# Where finals decide: the part of the seconds before them, and the plans in them at most.
FIRST_PART = 0.75
FINALISTS = 16


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        best: The plan of the lowest fitness among those that save enough.
        first: The plan that the scores alone give; None if there was no time left for it.
        evaluations: Plans that were tried, in this search and those before it.
        seconds: That they took, those before it included.
    """

    best: Evaluation
    first: Evaluation | None
    evaluations: int
    seconds: float


def search(
    problem: Problem,
    method: str,
    evaluations: Evaluations,
    *,
    limit_s: float,
    finals: Evaluations | None = None,
) -> Found | None:
    """Look for the best plan for `limit_s` seconds; None when no plan saves enough.

    The plan that the scores alone give is tried as well, so what is found is never worse.

    Args:
        problem: What is wanted.
        method: A key of `METHODS`.
        evaluations: Tries plans; what it knows already is used.
        limit_s: Seconds from now.
        finals: Tries the best of them again in the last of the seconds, more dearly and more
            exactly, and decides; None where `evaluations` decides.
    """
    if not problem.seeds:
        return None
    first = problem.seeds[0]
    evaluations.begin(limit_s * (FIRST_PART if finals else 1.0))
    # With no time left, what earlier searches tried has to do, if any of it saves enough.
    evaluations.evaluate_at_least(first, anyway=not _enough(problem, evaluations))
    with contextlib.suppress(OutOfTime):
        METHODS[method](problem, evaluations)
    if finals is not None:
        ranked = _enough(problem, evaluations)
        finals.begin(limit_s * (1 - FIRST_PART))
        anyway = not _enough(problem, finals)
        for plan in (first, *(tried.plan for tried in ranked[:FINALISTS])):
            finals.evaluate_at_least(plan, anyway=anyway and plan in (first, ranked[0].plan))
    deciding = finals or evaluations
    return Found(
        best=_enough(problem, deciding)[0],
        first=deciding.tried.get(key_of(first)),
        evaluations=len(evaluations.tried),
        seconds=evaluations.spent_s + (finals.spent_s if finals else 0.0),
    )


def _enough(problem: Problem, evaluations: Evaluations) -> list[Evaluation]:
    """Return what is known of plans that save enough, best first, of equals the first tried."""
    known = evaluations.known(problem)
    enough = [tried for tried in known if problem.saves_enough(tried.plan)]
    return sorted(enough, key=lambda tried: tried.fitness)
