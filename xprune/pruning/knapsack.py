"""Choose what to remove: the least importance lost for a wanted saving of time, exactly.

Layers nest, and a block that goes settles its children, so the choice is a knapsack on a tree.
It is solved by a dynamic programme that walks the tree from parents to children (Johnson and
Niemi 1983): at each layer a partial choice either takes one of the layer's options, and passes
over all that is inside, or goes on inside. Of two partial choices at the same place, one that
saves no more and costs no less is dropped; so is one that cannot beat the best choice known
even if what is left could be taken in parts (the bound of Dyer 1984 for multiple choices,
here the lower convex hull of what is left).

Knapsacks of latency and importance: for channels Shen et al. 2022 (HALP); for whole blocks Sun
et al. 2025 (MDP).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A saving counts as enough from this much below what is wanted: sums of floats are not exact.
ENOUGH = 1 - 1e-12
# Choices whose costs are this close to each other, relatively, cost the same.
SAME_COST = 1e-12
# Savings so close to each other, relatively, are the same in a bound.
SAME_SAVING = 1e-13
# How many partial choices each walk keeps at a place. The first walks only find a good choice,
# by which the next one drops more; a walk that did not have to leave out any proves the best.
WIDTHS = (64, 512, 4096, 1 << 16)
# How many partial choices are looked at in all (1 to 2 s). Times and scores that were measured
# need a tenth of it. Where nearly all costs alike per second it may not be enough; then the
# best that was found stands, without a proof that it is the least.
MOST_LOOKED_AT = 6_000_000

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Option:
    """One way to replace a layer: what it costs in importance and what it saves in seconds."""

    layer: str
    substitute: str
    cost: float
    saved_s: float


@dataclass(frozen=True)
class _Place:
    """A layer in the order of the walk, parents before their children.

    Attributes:
        options: What could be done with it.
        after: The index of the first layer that is not inside it.
    """

    options: tuple[Option, ...]
    after: int


@dataclass(frozen=True)
class _Hull:
    """The least cost of saving at least so much, where options may be taken in parts.

    Attributes:
        saved_s: (n,) rising.
        cost: (n,) rising ever faster, the first one the least of all.
    """

    saved_s: Floats
    cost: Floats

    def at(self, wanted_s: Floats) -> Floats:
        """Return the least costs (m,) of saving `wanted_s` (m,); infinity beyond all."""
        inside = np.interp(wanted_s, self.saved_s, self.cost)
        reach = self.saved_s[-1] + (1 - ENOUGH) * np.abs(self.saved_s[-1])
        return np.where(wanted_s <= reach, inside, np.inf)


@dataclass(frozen=True)
class _States:
    """Partial choices at one place, by what they save and cost so far.

    Attributes:
        saved_s: (n,) seconds.
        cost: (n,).
        place: (n,) the place that each one comes from.
        index: (n,) its index there.
        option: (n,) the option that was taken there, or -1.
    """

    saved_s: Floats
    cost: Floats
    place: Integers
    index: Integers
    option: Integers

    def __getitem__(self, kept: Integers | NDArray[np.bool_]) -> _States:
        return _States(
            self.saved_s[kept],
            self.cost[kept],
            self.place[kept],
            self.index[kept],
            self.option[kept],
        )


@dataclass(frozen=True)
class _Walk:
    """What one walk found.

    Attributes:
        found: A choice that is better than the best one before, or None.
        whole: Whether nothing was left out that might be better still.
        looked_at: How many partial choices it looked at.
    """

    found: list[Option] | None
    whole: bool
    looked_at: int


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
    if most_saved_s(parents, options) < wanted_s * ENOUGH:
        return None
    places = _places(parents, options)
    hulls = _hulls(places)
    least = float(hulls[0].at(np.array([wanted_s * ENOUGH]))[0])
    best: list[Option] = []
    looked_at = 0
    for width in WIDTHS:
        left = MOST_LOOKED_AT - looked_at
        walk = _walk(places, hulls, wanted_s, best=best, width=width, left=left)
        best = walk.found or best
        looked_at += walk.looked_at
        assert best, "what can be saved was checked"
        if walk.whole or _cost(best) <= least + _margin(best) or looked_at > MOST_LOOKED_AT:
            break
    order = {layer: rank for rank, layer in enumerate(parents)}
    return sorted(best, key=lambda option: order[option.layer])


def most_saved_s(parents: Mapping[str, str | None], options: Sequence[Option]) -> float:
    """Return the largest saving that any choice reaches."""
    best: dict[str, float] = dict.fromkeys(parents, 0.0)
    for option in options:
        best[option.layer] = max(best[option.layer], option.saved_s)
    inside: dict[str | None, list[float]] = {}
    for layer in reversed(list(parents)):
        most = max(best[layer], math.fsum(inside.get(layer, [])))
        inside.setdefault(parents[layer], []).append(most)
    return math.fsum(inside.get(None, []))


def _cost(chosen: Sequence[Option]) -> float:
    return math.fsum(option.cost for option in chosen)


def _margin(chosen: Sequence[Option]) -> float:
    """Return the difference in cost that is none."""
    return SAME_COST * math.fsum(abs(option.cost) for option in chosen)


def _places(parents: Mapping[str, str | None], options: Sequence[Option]) -> list[_Place]:
    """Return the layers in the order of the walk; of neighbours, those that save most first.

    So what saves little comes last, where it fills what is still missing.
    """
    by_layer: dict[str, list[Option]] = {layer: [] for layer in parents}
    for option in options:
        if option.saved_s > 0:
            by_layer[option.layer].append(option)
    inside: dict[str | None, list[str]] = {}
    most: dict[str | None, float] = {}
    size: dict[str, int] = {}
    for layer in reversed(list(parents)):
        own = max((option.saved_s for option in by_layer[layer]), default=0.0)
        most[layer] = max(own, most.get(layer, 0.0))
        most[parents[layer]] = most.get(parents[layer], 0.0) + most[layer]
        inside.setdefault(parents[layer], []).append(layer)
        size[layer] = 1 + sum(size[child] for child in inside.get(layer, []))
    places: list[_Place] = []
    waiting = sorted(inside.get(None, []), key=lambda layer: most[layer])
    while waiting:
        layer = waiting.pop()
        places.append(_Place(tuple(by_layer[layer]), len(places) + size[layer]))
        waiting += sorted(inside.get(layer, []), key=lambda child: most[child])
    return places


def _hulls(places: Sequence[_Place]) -> list[_Hull]:
    """Return for each place, and for the end, the hull of all that is from there on."""
    nothing = _Hull(np.zeros(1), np.zeros(1))
    hulls = [nothing] * (len(places) + 1)
    own = [nothing] * len(places)
    for index in range(len(places) - 1, -1, -1):
        place = places[index]
        inner = nothing
        child = index + 1
        while child < place.after:
            inner = _sum(inner, own[child])
            child = places[child].after
        saved_s = [0.0, *(option.saved_s for option in place.options)]
        cost = [0.0, *(option.cost for option in place.options)]
        own[index] = _lower_hull(
            np.concatenate([inner.saved_s, saved_s]), np.concatenate([inner.cost, cost])
        )
        hulls[index] = _sum(own[index], hulls[place.after])
    return hulls


def _lower_hull(saved_s: Floats, cost: Floats) -> _Hull:
    """Return the lower hull of points from the cheapest one on."""
    order = np.lexsort((cost, saved_s))
    kept: list[tuple[float, float]] = []
    for s, c in zip(saved_s[order].tolist(), cost[order].tolist(), strict=True):
        while kept and kept[-1][1] >= c:
            kept.pop()
        if kept and s - kept[-1][0] <= SAME_SAVING * s:
            kept[-1] = (max(s, kept[-1][0]), kept[-1][1])
            continue
        while len(kept) > 1:
            (s0, c0), (s1, c1) = kept[-2:]
            if (c1 - c0) * (s - s1) < (c - c1) * (s1 - s0):
                break
            kept.pop()
        kept.append((s, c))
    points = np.array(kept)
    return _Hull(points[:, 0], points[:, 1])


def _sum(first: _Hull, second: _Hull) -> _Hull:
    """Return the hull of both together: their pieces in the order of their slopes."""
    saved_s = np.concatenate([np.diff(first.saved_s), np.diff(second.saved_s)])
    cost = np.concatenate([np.diff(first.cost), np.diff(second.cost)])
    with np.errstate(divide="ignore", invalid="ignore"):  # a tiny piece may vanish in a sum
        order = np.argsort(cost / saved_s, kind="stable")
    return _Hull(
        np.cumsum([first.saved_s[0] + second.saved_s[0], *saved_s[order]]),
        np.cumsum([first.cost[0] + second.cost[0], *cost[order]]),
    )


def _walk(
    places: Sequence[_Place],
    hulls: Sequence[_Hull],
    wanted_s: float,
    *,
    best: Sequence[Option],
    width: int,
    left: int,
) -> _Walk:
    """Go over all places once, keeping the `width` most promising partial choices at each.

    Args:
        places: The layers.
        hulls: For each of them what is still to come.
        wanted_s: The least saving.
        best: The best choice so far; empty in the first walk.
        width: How many partial choices are kept at each place.
        left: How many may be looked at, once there is a choice to fall back on.
    """
    limit = _cost(best) - _margin(best) if best else np.inf
    start = np.zeros(1, dtype=np.int64)
    coming: list[list[_States]] = [[] for _ in range(len(places) + 1)]
    coming[0].append(_States(np.zeros(1), np.zeros(1), start - 1, start, start - 1))
    seen: list[_States] = []
    whole, looked_at = True, 0
    for index, hull in enumerate(hulls):
        looked_at += sum(len(part.cost) for part in coming[index])
        if best and looked_at > left:
            return _Walk(None, False, looked_at)
        bounds = [
            part.cost + hull.at(wanted_s * ENOUGH - part.saved_s) for part in coming[index]
        ]
        states, bound = _merged(coming[index], bounds, limit)
        coming[index] = []
        if len(bound) > width:
            whole = False
            states = states[np.sort(np.argpartition(bound, width)[:width])]
        seen.append(states)
        if index < len(places):
            _pass_on(states, index, places[index], coming=coming, wanted_s=wanted_s)
    return _Walk(_traced(seen, places), whole, looked_at)


def _pass_on(
    states: _States,
    index: int,
    place: _Place,
    *,
    coming: list[list[_States]],
    wanted_s: float,
) -> None:
    """Hand each partial choice to where it goes on: inside the layer, or after it."""
    here, own = np.full(len(states.cost), index), np.arange(len(states.cost))
    coming[index + 1].append(_States(states.saved_s, states.cost, here, own, here * 0 - 1))
    for number, option in enumerate(place.options):
        # What is saved beyond what is wanted is of no more use.
        saved_s = np.minimum(states.saved_s + option.saved_s, wanted_s)
        taken = _States(saved_s, states.cost + option.cost, here, own, here * 0 + number)
        coming[place.after].append(taken)


def _merged(
    parts: Sequence[_States], bounds: Sequence[Floats], limit: float
) -> tuple[_States, Floats]:
    """Return, by falling saving, what may stay below `limit` and no other choice beats."""
    good = [part[bound < limit] for part, bound in zip(parts, bounds, strict=True)]
    bound = np.concatenate([bound[bound < limit] for bound in bounds])
    names = ("saved_s", "cost", "place", "index", "option")
    states = _States(*(np.concatenate([getattr(p, name) for p in good]) for name in names))
    # Each part is in order already, which a stable sort makes use of.
    order = np.argsort(-states.saved_s, kind="stable")
    states, bound = states[order], bound[order]
    if len(bound) < 2:
        return states, bound
    cheaper = states.cost[1:] < np.minimum.accumulate(states.cost)[:-1]
    kept = np.concatenate([[True], cheaper])
    return states[kept], bound[kept]


def _traced(seen: Sequence[_States], places: Sequence[_Place]) -> list[Option] | None:
    """Return the options of the cheapest choice that came to the end, or None."""
    if not len(seen[-1].cost):
        return None
    place, index = len(places), int(seen[-1].cost.argmin())
    chosen = []
    while place >= 0:
        states = seen[place]
        before, taken = int(states.place[index]), int(states.option[index])
        if taken >= 0:
            chosen.append(places[before].options[taken])
        place, index = before, int(states.index[index])
    return chosen
