"""What every search looks for: a plan that saves enough and costs least when it is tried.

A plan is a set of options, none of them inside another. Scores only say which plans are worth
trying; what a plan is worth is its fitness, measured on the plan as a whole.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from xprune.layers.candidates import nested
from xprune.pruning.knapsack import Option, choose

Plan = tuple[Option, ...]
# Layer and substitute: what tells one option from another, whatever it is thought to cost.
Name = tuple[str, str]
Key = tuple[Name, ...]

# Savings are sums of floats: this share of what is wanted is rounding.
SLACK = 1e-9
# Seeds are also planned for a little more than is wanted: other layers may then fit better.
SEED_TARGETS = (1.0, 1.1)


@dataclass(frozen=True)
class Problem:
    """What is looked for, and what is known before anything is tried.

    Attributes:
        parents: Each layer's parent among the layers, parents before their children.
        options: What could be done, with the costs by the run's own criterion.
        wanted_s: The least sum of `saved_s`.
        seed: Of everything that is drawn.
        other_costs: The costs of the same options by other criteria, to plan more seeds with.
    """

    parents: Mapping[str, str | None]
    options: Sequence[Option]
    wanted_s: float
    seed: int = 0
    other_costs: Sequence[Mapping[Name, float]] = ()

    @cached_property
    def by_name(self) -> dict[Name, Option]:
        """The options that save something."""
        return {name_of(option): option for option in self.options if option.saved_s > 0}

    @cached_property
    def _order(self) -> dict[str, int]:
        return {layer: index for index, layer in enumerate(self.parents)}

    def plan(self, options: Iterable[Option]) -> Plan:
        """Return options as a plan: in the order of the layers, with their own costs."""
        names = sorted({name_of(o) for o in options}, key=lambda n: self._order[n[0]])
        return tuple(self.by_name[name] for name in names)

    def saves_enough(self, plan: Plan) -> bool:
        """Whether the plan saves what is wanted."""
        return saved_s(plan) >= self.wanted_s * (1 - SLACK)

    def cheapest(
        self, costs: Mapping[Name, float], *, kept: Plan = (), wanted_s: float | None = None
    ) -> Plan | None:
        """Return `kept` and what else costs least for the wanted saving, or None.

        Args:
            costs: By option; one that is missing is not taken.
            kept: Options that are in the plan anyway.
            wanted_s: The saving, those of `kept` included; the problem's own if None.
        """
        wanted = self.wanted_s if wanted_s is None else wanted_s
        left_s = wanted - saved_s(kept)
        if left_s <= wanted * SLACK:
            return self.plan(kept)
        free = [
            replace(option, cost=costs[name])
            for name, option in self.by_name.items()
            if name in costs and not any(nested(option.layer, other.layer) for other in kept)
        ]
        more = choose(self.parents, free, left_s)
        return None if more is None else self.plan([*kept, *more])

    def trimmed(self, plan: Plan, costs: Mapping[Name, float]) -> Plan:
        """Return the plan without options that it does not need, the dearest dropped first."""
        for option in sorted(plan, key=lambda o: (-costs[name_of(o)], name_of(o))):
            less = tuple(other for other in plan if other is not option)
            if less and self.saves_enough(less):
                plan = less
        return plan

    @cached_property
    def costs(self) -> dict[Name, float]:
        """The costs by the run's own criterion."""
        return {name: option.cost for name, option in self.by_name.items()}

    @cached_property
    def seeds(self) -> list[Plan]:
        """The exact plans by each criterion: the run's own first, none twice."""
        found = [
            self.cheapest(costs, wanted_s=self.wanted_s * target)
            for target in SEED_TARGETS
            for costs in (self.costs, *self.other_costs)
        ]
        return list(dict.fromkeys(plan for plan in found if plan is not None))

    @cached_property
    def by_promise(self) -> list[Option]:
        """The options, those of the least cost for each second first; of equals any order."""
        return sorted(
            self.by_name.values(), key=lambda o: (o.cost / o.saved_s, self._order[o.layer])
        )

    def shaken(self, draw: random.Random, spread: float) -> dict[Name, float]:
        """Return the costs, each times a random factor, so that equals change places."""
        costs = (self.costs, *self.other_costs)
        chosen = costs[draw.randrange(len(costs))]
        return {
            name: chosen[name] * draw.lognormvariate(0, spread)
            for name in self.by_name
            if name in chosen
        }


def name_of(option: Option) -> Name:
    """Return what tells the option from all others."""
    return option.layer, option.substitute


def key_of(plan: Plan) -> Key:
    """Return what tells the plan from all others."""
    return tuple(name_of(option) for option in plan)


def saved_s(plan: Iterable[Option]) -> float:
    """Return the seconds that a plan saves by the latency table."""
    return sum(option.saved_s for option in plan)
