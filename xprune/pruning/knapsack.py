"""Choose what to remove: the least importance lost for a wanted saving of time, exactly.

Layers nest, and a block that goes settles its children, so the choice is a knapsack on a tree:
for each layer the best way to save t seconds inside it is either one of its own substitutes or
the best split of t among its children. Latency-saliency knapsacks for channels: Shen et al.
2022 (HALP); for whole blocks: Sun et al. 2025 (MDP).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Savings are counted in this many steps of what is wanted, rounded down: never short.
STEPS = 400

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Option:
    """One way to replace a layer: what it costs in importance and what it saves in seconds."""

    layer: str
    substitute: str
    cost: float
    saved_s: float


@dataclass
class _Node:
    """The cheapest cost to save at least t steps inside one layer, and how."""

    curve: Curve
    own: NDArray[np.int64]  # index of the own option taken, or -1
    children: list[_Node]
    shares: list[NDArray[np.int64]] = field(default_factory=list)  # steps given to each child
    options: Sequence[Option] = ()


def choose(
    parents: Mapping[str, str | None], options: Sequence[Option], wanted_s: float
) -> list[Option] | None:
    """Return the cheapest options that together save `wanted_s`, none inside another.

    Args:
        parents: Each layer's parent among the layers, parents before their children.
        options: What could be done; options that save nothing are left out.
        wanted_s: The least sum of `saved_s`, more than 0.

    Returns:
        The chosen options in the order of `parents`, or None when all of them save too little.
    """
    if most_saved_s(parents, options) < wanted_s:
        return None
    by_layer: dict[str, list[Option]] = {layer: [] for layer in parents}
    for option in options:
        if option.saved_s > 0:
            by_layer[option.layer].append(option)
    children: dict[str | None, list[str]] = {}
    for layer, parent in parents.items():
        children.setdefault(parent, []).append(layer)
    step_s = wanted_s / STEPS
    nodes: dict[str, _Node] = {}
    for layer in reversed(list(parents)):
        inner = [nodes[child] for child in children.get(layer, [])]
        nodes[layer] = _with_own_options(_combined(inner), by_layer[layer], step_s)
    root = _combined([nodes[layer] for layer in children.get(None, [])])
    # So close to all that can be saved, rounding down may leave nothing but the whole of it.
    enough = np.isfinite(root.curve[STEPS])
    taken = _taken(root, STEPS) if enough else _fastest(parents, options)
    chosen = {option.layer: option for option in taken}
    return [chosen[layer] for layer in parents if layer in chosen]


def most_saved_s(parents: Mapping[str, str | None], options: Sequence[Option]) -> float:
    """Return the largest saving that any choice reaches."""
    return sum(option.saved_s for option in _fastest(parents, options))


def _fastest(parents: Mapping[str, str | None], options: Sequence[Option]) -> list[Option]:
    """Return the options, none inside another, that together save the most."""
    best: dict[str, Option] = {}
    for option in options:
        if option.saved_s > (best[option.layer].saved_s if option.layer in best else 0):
            best[option.layer] = option
    inside: dict[str | None, list[Option]] = {}
    for layer in reversed(list(parents)):
        taken = inside.get(layer, [])
        if layer in best and best[layer].saved_s > sum(option.saved_s for option in taken):
            taken = [best[layer]]
        inside.setdefault(parents[layer], []).extend(taken)
    return inside.get(None, [])


def _combined(children: list[_Node]) -> _Node:
    """Return the best split of every saving among children that do not contain each other."""
    curve = np.full(STEPS + 1, np.inf)
    curve[0] = 0.0
    node = _Node(curve, np.full(STEPS + 1, -1), children)
    for child in children:
        # splits[t, s] is the cost of s steps from this child and t - s from those before it.
        taken = np.arange(STEPS + 1)
        rest = np.maximum(np.arange(STEPS + 1)[:, None] - taken[None, :], 0)
        splits = child.curve[None, :] + node.curve[rest]
        node.shares.append(splits.argmin(axis=1))
        node.curve = splits.min(axis=1)
    return node


def _with_own_options(node: _Node, options: Sequence[Option], step_s: float) -> _Node:
    node.options = options
    for index, option in enumerate(options):
        # A tiny slack, so that a saving of exactly n steps counts as n in floating point.
        reach = min(STEPS, int(option.saved_s / step_s + 1e-9))
        cheaper = option.cost < node.curve[: reach + 1]
        node.curve[: reach + 1][cheaper] = option.cost
        node.own[: reach + 1][cheaper] = index
    return node


def _taken(node: _Node, steps: int) -> list[Option]:
    if node.own[steps] >= 0:
        return [node.options[node.own[steps]]]
    chosen: list[Option] = []
    for child, shares in zip(reversed(node.children), reversed(node.shares), strict=True):
        share = int(shares[steps])
        chosen += _taken(child, share)
        steps = max(steps - share, 0)
    return chosen
