"""Grow plans option by option and keep the best few at each stage.

The saving that is wanted is reached in equal steps. At each step every plan that is kept is
extended by its most promising options, the rest of the step filled in by the knapsack, and the
best by fitness are kept. A beam of width 1 is direct block removal, as in Block Pruning
(Lagunas et al. 2021 for the name, Zhong et al. 2025 for removal block by block); wider ones
follow until the seconds are used up, and what they have in common with narrower ones is known.
"""

from __future__ import annotations

from xprune.layers.candidates import nested
from xprune.search.evaluations import Evaluations
from xprune.search.problem import Plan, Problem, saved_s

# (plans kept, options tried for each, steps): each beam costs several times the one before.
BEAMS = ((1, 4, 3), (2, 6, 4), (4, 10, 5), (8, 16, 6), (16, 32, 8), (32, 64, 10))


def beam(problem: Problem, evaluations: Evaluations) -> None:
    """Try plans, beam after beam, until the seconds are used up or nothing new is tried.

    Raises:
        OutOfTime: From `evaluations`.
    """
    for plan in problem.seeds:
        evaluations.evaluate(plan)
    for width, branches, steps in BEAMS:
        _one_beam(problem, evaluations, width=width, branches=branches, steps=steps)


def _one_beam(
    problem: Problem, evaluations: Evaluations, *, width: int, branches: int, steps: int
) -> None:
    kept: list[Plan] = [()]
    for step in range(1, steps + 1):
        target_s = problem.wanted_s * step / steps
        grown = dict.fromkeys(
            extended for plan in kept for extended in _grown(problem, plan, target_s, branches)
        )
        ranked = sorted(grown, key=evaluations.evaluate)
        kept = ranked[:width]
        if not kept:
            return


def _grown(problem: Problem, plan: Plan, target_s: float, branches: int) -> list[Plan]:
    """Return the plan with each of its most promising options, up to the step's saving."""
    if saved_s(plan) >= target_s:
        return [plan]
    last = target_s >= problem.wanted_s
    grown: list[Plan] = []
    for option in problem.by_promise:
        if len(grown) == branches:
            break
        if any(nested(option.layer, other.layer) for other in plan):
            continue
        extended = problem.cheapest(
            problem.costs, kept=problem.plan([*plan, option]), wanted_s=target_s
        )
        if extended is not None and last:
            extended = problem.trimmed(extended, problem.costs)
        if extended is not None and extended not in grown:
            grown.append(extended)
    return grown
