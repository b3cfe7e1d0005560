"""An evolutionary search that starts from the exact plans of several criteria.

Among the seeds is the plan by the trace of the Fisher matrix, as in Mixed Sparsity Pruning
(here of the gates, criterion `fisher`). A child is made by taking options out of a plan, or
from two plans, and is repaired to the wanted saving by the knapsack with shaken costs, so that
every child is a good plan by some view of the scores.
"""

from __future__ import annotations

import random

from xprune.layers.candidates import nested
from xprune.pruning.knapsack import Option
from xprune.search.evaluations import Evaluations
from xprune.search.problem import Plan, Problem, key_of

POPULATION = 12
# Of so many drawn, the best is a parent.
TOURNAMENT = 3
CROSSOVERS = 0.3
# The standard deviation of the logarithm of the factor on each cost.
SPREAD = 0.7
# So many children in a row that are all known: there is nothing new to be found.
PATIENCE = 60


def evolution(problem: Problem, evaluations: Evaluations) -> None:
    """Try plans until the seconds are used up or nothing new is born.

    Raises:
        OutOfTime: From `evaluations`.
    """
    draw = random.Random(problem.seed)
    population = {plan: evaluations.evaluate(plan) for plan in problem.seeds}
    fruitless = 0
    while fruitless < PATIENCE:
        child = _child(problem, _ranked(population), draw)
        if child is None or evaluations.knows(child):
            fruitless += 1
        else:
            fruitless = 0
        if child is not None:
            population[child] = evaluations.evaluate(child)
            population = {plan: population[plan] for plan in _ranked(population)[:POPULATION]}


def _ranked(population: dict[Plan, float]) -> list[Plan]:
    return sorted(population, key=lambda plan: (population[plan], key_of(plan)))


def _child(problem: Problem, ranked: list[Plan], draw: random.Random) -> Plan | None:
    parent = _parent(ranked, draw)
    if len(ranked) > 1 and draw.random() < CROSSOVERS:
        kept = _crossed(parent, _parent(ranked, draw), draw)
    else:
        kept = _mutated(problem, parent, draw)
    costs = problem.shaken(draw, SPREAD)
    child = problem.cheapest(costs, kept=problem.plan(kept))
    return None if child is None else problem.trimmed(child, {**problem.costs, **costs})


def _parent(ranked: list[Plan], draw: random.Random) -> Plan:
    return ranked[min(draw.randrange(len(ranked)) for _ in range(TOURNAMENT))]


def _crossed(first: Plan, second: Plan, draw: random.Random) -> list[Option]:
    """Return what both have, and each option that one has with even odds, where it fits."""
    kept = [option for option in first if option in second]
    rest = [o for o in (*first, *second) if o not in kept and draw.random() < 0.5]
    for option in rest:
        if not any(nested(option.layer, other.layer) for other in kept):
            kept.append(option)
    return kept


def _mutated(problem: Problem, plan: Plan, draw: random.Random) -> list[Option]:
    """Return the plan with an option dropped, exchanged or added, or with much of it gone."""
    kept = list(plan)
    kind = draw.random()
    if kind < 0.25:
        return [option for option in kept if draw.random() < 0.5]
    if kind < 0.75 and kept:
        gone = kept.pop(draw.randrange(len(kept)))
        if kind < 0.5:
            return _with(problem, kept, gone, draw)
        return kept
    return _with(problem, kept, None, draw)


def _with(
    problem: Problem, kept: list[Option], gone: Option | None, draw: random.Random
) -> list[Option]:
    """Add an option: another one of the same layer, or one of those that promise most."""
    pool = [
        option
        for option in problem.by_name.values()
        if gone is not None and nested(option.layer, gone.layer) and option != gone
    ]
    if not pool:
        promising = problem.by_promise
        # The square of an even number: the first quarter of them half of the time.
        pool = [promising[int(draw.random() ** 2 * len(promising))]]
    option = pool[draw.randrange(len(pool))]
    return [o for o in kept if not nested(o.layer, option.layer)] + [option]
