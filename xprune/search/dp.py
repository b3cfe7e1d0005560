"""Measure what single options do to the output, and plan exactly over that.

Distortions of layers add up approximately, so a plan's is the sum of its options' (joint
layer-adaptive pruning: Xu et al. 2023), and the knapsack, a dynamic programme, finds the least
sum. Options that there is no time to try are estimated from their scores. What whole plans then
do corrects the costs of their options, in the least-squares sense that a Gaussian prior on the
costs gives, and every second plan is made from costs drawn from what is still possible, so that
options are tried that only an estimate speaks against (Thompson 1933).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xprune.pruning.knapsack import Option
from xprune.search.evaluations import Evaluations
from xprune.search.problem import Name, Plan, Problem, key_of, name_of

# The share of the seconds in which single options are tried.
SINGLES = 0.4
# Relative standard deviations: of a single option's cost that was tried (others interfere), of
# one that was estimated, and of the sum of a plan.
TRIED, ESTIMATED, SUMMED = 0.3, 1.0, 0.1
PATIENCE = 40

Vector = NDArray[np.float64]


def dp(problem: Problem, evaluations: Evaluations) -> None:
    """Try single options, then plans, until the seconds are used up or none is new.

    Raises:
        OutOfTime: From `evaluations`.
    """
    for plan in problem.seeds[:1]:
        evaluations.evaluate(plan)
    singles = _singles(problem, evaluations)
    if not singles:
        return
    beliefs = _Beliefs(problem, singles)
    for plan in problem.seeds:
        beliefs.learn(plan, evaluations.evaluate(plan))
    draw = np.random.default_rng(problem.seed)
    fruitless = 0
    while fruitless < PATIENCE:
        # Once the likeliest plan is known, only drawn costs lead on.
        costs = beliefs.drawn(draw) if fruitless % 2 else beliefs.likely()
        made = problem.cheapest(costs)
        if made is None:
            return
        plan = problem.trimmed(made, costs)
        fruitless = fruitless + 1 if evaluations.knows(plan) else 0
        beliefs.learn(plan, evaluations.evaluate(plan))


def _singles(problem: Problem, evaluations: Evaluations) -> dict[Name, float]:
    """Try options one by one: those of good plans first, then those that promise most."""
    until_s = evaluations.left_s * (1 - SINGLES)
    first = [option for plan in problem.seeds for option in plan]
    tried: dict[Name, float] = {}
    for option in dict.fromkeys((*first, *problem.by_promise)):
        plan = problem.plan([option])
        if not evaluations.knows(plan) and evaluations.left_s <= until_s:
            break
        fitness = evaluations.evaluate(plan)
        if math.isfinite(fitness):
            tried[name_of(option)] = fitness
    return tried


@dataclass
class _Seen:
    options: Vector
    fitness: float


class _Beliefs:
    """What options cost in a plan: a Gaussian, corrected by each plan that is tried."""

    def __init__(self, problem: Problem, singles: Mapping[Name, float]) -> None:
        self.names = list(problem.by_name)
        self.index = {name: i for i, name in enumerate(self.names)}
        estimate = _estimates(problem.by_name, singles)
        self.mean = np.array([singles.get(name, estimate[name]) for name in self.names])
        self.floor = 0.01 * float(np.median(self.mean))
        share = np.array([TRIED if name in singles else ESTIMATED for name in self.names])
        self.spread = share * np.maximum(self.mean, self.floor)
        self.seen: dict[tuple[Name, ...], _Seen] = {}

    def learn(self, plan: Plan, fitness: float) -> None:
        """Note what a plan did; one that left nothing that works counts as twice the worst."""
        options = np.zeros(len(self.names))
        options[[self.index[name] for name in key_of(plan)]] = 1
        if not math.isfinite(fitness):
            known = [seen.fitness for seen in self.seen.values()]
            fitness = 2 * max([float(options @ self.mean), *known])
        self.seen[key_of(plan)] = _Seen(options, fitness)

    def likely(self) -> dict[Name, float]:
        """Return the costs that fit best with all that was seen."""
        return self._costs(self.mean, np.zeros(len(self.seen)))

    def drawn(self, draw: np.random.Generator) -> dict[Name, float]:
        """Return costs drawn from those that are still possible (Matheron's rule)."""
        prior = self.mean + self.spread * draw.standard_normal(len(self.names))
        return self._costs(prior, draw.standard_normal(len(self.seen)))

    def _costs(self, prior: Vector, noise: Vector) -> dict[Name, float]:
        x = np.stack([seen.options for seen in self.seen.values()])
        y = np.array([seen.fitness for seen in self.seen.values()])
        # Interference makes all sums too small or too large alike: that changes no choice.
        scale = float(np.median(y / np.maximum(x @ self.mean, self.floor)))
        y = y / max(scale, 1e-12)
        noise_s = SUMMED * np.maximum(y, self.floor)
        gain = (x * self.spread**2).T @ np.linalg.inv(
            (x * self.spread**2) @ x.T + np.diag(noise_s**2)
        )
        costs = prior + gain @ (y - x @ prior - noise_s * noise)
        costs = np.maximum(costs, self.floor)
        return dict(zip(self.names, costs.tolist(), strict=True))


def _estimates(
    options: Mapping[Name, Option], tried: Mapping[Name, float]
) -> dict[Name, float]:
    """Return every option's fitness alone, from its score: a line through the logarithms."""
    pairs = [
        (math.log(options[name].cost), math.log(fitness))
        for name, fitness in tried.items()
        if options[name].cost > 0 and fitness > 0
    ]
    middle = float(np.median(list(tried.values())))
    if len(pairs) < 2 or len({score for score, _ in pairs}) < 2:
        return dict.fromkeys(options, middle)
    scores, fitnesses = np.array(pairs).T
    slope, offset = (float(value) for value in np.polyfit(scores, fitnesses, 1))
    worst = max(tried.values())
    return {
        name: min(math.exp(slope * math.log(option.cost) + offset), 10 * worst)
        if option.cost > 0 and slope > 0
        else middle
        for name, option in options.items()
    }
