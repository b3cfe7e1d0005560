"""Problems of planning whose best plan is found by trying all, with layers that interfere."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.reference.brute_force_plan import all_choices
from xprune.pruning.knapsack import Option
from xprune.search.problem import Plan, Problem


@dataclass
class FakeClock:
    """Goes on by what is added to it, and by nothing else."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class ToyFitness:
    """The sum of what options really cost and of what pairs of layers add; a second each."""

    true_costs: Mapping[tuple[str, str], float]
    pairs: Mapping[frozenset[str], float] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)
    seconds: float = 1.0
    calls: list[Plan] = field(default_factory=list)

    def value(self, plan: Plan) -> float:
        """Return the fitness, without a call being counted."""
        layers = {option.layer for option in plan}
        return sum(self.true_costs[o.layer, o.substitute] for o in plan) + sum(
            more for pair, more in self.pairs.items() if pair <= layers
        )

    def __call__(self, plan: Plan) -> float:
        self.calls.append(plan)
        self.clock.now_s += self.seconds
        return self.value(plan)


def toy_problem(seed: int, *, layers: int = 6, pairs: int = 3) -> tuple[Problem, ToyFitness]:
    """Return layers with two options each, some nested, scores that are off by a factor."""
    draw = random.Random(seed)
    parents: dict[str, str | None] = {}
    for index in range(layers):
        free = [None, None, *parents]
        parent = free[draw.randrange(len(free))]
        parents[f"l{index}" if parent is None else f"{parent}.l{index}"] = parent
    options, true_costs = [], {}
    for layer in parents:
        for substitute in ("affine", "linear"):
            cost = draw.uniform(0.2, 3)
            true_costs[layer, substitute] = cost
            score = cost * draw.lognormvariate(0, 0.6)
            options.append(Option(layer, substitute, score, draw.uniform(0.5, 2)))
    names = list(parents)
    together = {frozenset(draw.sample(names, 2)): draw.uniform(-0.3, 1.5) for _ in range(pairs)}
    wanted_s = 0.4 * sum(option.saved_s for option in options) / 2
    return Problem(parents, options, wanted_s, seed=seed), ToyFitness(true_costs, together)


def best_fitness(problem: Problem, value: Callable[[Plan], float]) -> float:
    """Return the lowest fitness of all plans that save enough."""
    return min(
        value(plan)
        for plan in all_choices(problem.parents, problem.options)
        if sum(option.saved_s for option in plan) >= problem.wanted_s
    )
