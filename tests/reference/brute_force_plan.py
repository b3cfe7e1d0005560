"""The best choice of layers by trying every one of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from xprune.pruning.knapsack import Option


def ancestors(parents: Mapping[str, str | None], layer: str) -> Iterator[str]:
    """Yield the layers around `layer`."""
    parent = parents[layer]
    while parent is not None:
        yield parent
        parent = parents[parent]


def possible(parents: Mapping[str, str | None], chosen: Sequence[Option]) -> bool:
    """Whether no layer is chosen twice or inside another."""
    names = [option.layer for option in chosen]
    around = {outer for name in names for outer in ancestors(parents, name)}
    return len(set(names)) == len(names) and not around & set(names)


def all_choices(
    parents: Mapping[str, str | None], options: Sequence[Option]
) -> Iterator[tuple[Option, ...]]:
    """Yield every possible choice, the empty one included."""
    by_layer = [[None, *(o for o in options if o.layer == layer)] for layer in parents]
    for picks in itertools.product(*by_layer):
        chosen = tuple(option for option in picks if option is not None)
        if possible(parents, chosen):
            yield chosen


def least_cost(
    parents: Mapping[str, str | None], options: Sequence[Option], wanted_s: float
) -> float | None:
    """Return the least sum of costs that saves `wanted_s`, or None if nothing does."""
    costs = [
        sum(option.cost for option in chosen)
        for chosen in all_choices(parents, options)
        if sum(option.saved_s for option in chosen) >= wanted_s
    ]
    return min(costs, default=None)


def most_saved(parents: Mapping[str, str | None], options: Sequence[Option]) -> float:
    """Return the largest sum of savings."""
    choices = all_choices(parents, options)
    return max(sum(option.saved_s for option in chosen) for chosen in choices)
