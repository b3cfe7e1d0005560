"""How wide each convolution of a thinner block stays: channels go where they are missed least.

A level, such as half of a block's inner channels, says how many multiply-adds are left. Where
a block has several chains, the same share of each is rarely the best: one convolution may give
all that it gives from a quarter of its channels, and the next may need nearly all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from xprune.attribution.solve import MOMENT_BYTES
from xprune.layers.candidates import Candidate
from xprune.layers.chains import Chain
from xprune.layers.fit import moment_bytes
from xprune.layers.gather import convolution_moments
from xprune.layers.moments import Moments
from xprune.layers.substitutes import FAMILIES, applicable, replacement, rounded, saved_macs
from xprune.layers.substitutes.thin import Elimination, can_shift

# Of no chain is less left than this; what so few channels miss is no longer told by their sums.
LEAST_SHARE = 1 / 8


def spread_widths(
    network: nn.Module,
    candidates: Sequence[Candidate],
    *,
    batches: int,
    forward: Callable[[int], object],
    steps: Callable[[int], Callable[[], object]],
) -> tuple[Candidate, ...]:
    """Return the candidates, those with several chains with their `widths`.

    Args:
        network: In eval mode.
        candidates: The layers. What has widths already keeps them.
        batches: Number of batches.
        forward: Runs a batch by its index.
        steps: Told the number of steps, returns what is called after each.
    """
    wanted = [c for c in candidates if len(c.chains) > 1 and not c.widths and _levels(c)]
    readers = {
        f"{c.name}.{chain.reader}": network.get_submodule(f"{c.name}.{chain.reader}")
        for c in wanted
        for chain in c.chains
    }
    groups = _groups(readers)
    done = steps(len(groups) * batches)

    def run() -> None:
        for batch in range(batches):
            forward(batch)
            done()

    missed: dict[str, dict[int, float]] = {}
    for group in groups:
        with torch.no_grad():
            moments = convolution_moments(network, group, run)
        for candidate in wanted:
            for chain in candidate.chains:
                name = f"{candidate.name}.{chain.reader}"
                if name in moments and name not in missed:
                    missed[name] = _curve(network, candidate, chain, moments)
    spread = {c.name: replace(c, widths=_widths(c, missed)) for c in wanted}
    return tuple(spread.get(candidate.name, candidate) for candidate in candidates)


def _levels(candidate: Candidate) -> tuple[str, ...]:
    """Return the levels of thinness of a candidate, the widest first."""
    fitting = applicable(candidate)
    return tuple(name for name in reversed(fitting) if name in FAMILIES["thin"])


def _groups(readers: Mapping[str, nn.Module]) -> list[list[str]]:
    """Return the names in groups whose moments fit into memory at once."""
    groups: list[list[str]] = []
    used_bytes = MOMENT_BYTES
    for name, reader in readers.items():
        used_bytes += moment_bytes(reader)
        if used_bytes > MOMENT_BYTES:
            groups.append([])
            used_bytes = moment_bytes(reader)
        groups[-1].append(name)
    return groups


def _curve(
    network: nn.Module, candidate: Candidate, chain: Chain, moments: Mapping[str, Moments]
) -> dict[int, float]:
    """Return what each width of a chain misses, the widest first."""
    name = f"{candidate.name}.{chain.reader}"
    reader = network.get_submodule(name)
    assert isinstance(reader, nn.Conv2d)
    elimination = Elimination(moments[name], reader)
    shifts = can_shift(network.get_submodule(candidate.name), chain)
    least = rounded(chain.channels * LEAST_SHARE)
    widths = [width for width in range(least, chain.channels) if rounded(width) == width]
    elimination.missed(least, has_bias=shifts)  # the longest first: it holds the others
    return {
        width: elimination.missed(width, has_bias=shifts)
        for width in (chain.channels, *reversed(widths))
    }


def _widths(
    candidate: Candidate, missed: Mapping[str, Mapping[int, float]]
) -> dict[str, tuple[int, ...]]:
    """Return for each level widths with as few multiply-adds, the cheapest step always first.

    A step makes one chain as wide as the next vector of a processor allows.
    """
    curves = [missed[f"{candidate.name}.{chain.reader}"] for chain in candidate.chains]
    at = [0] * len(curves)
    found: dict[str, tuple[int, ...]] = {}
    for level in _levels(candidate):
        enough = saved_macs(candidate, replacement(candidate, level).chains)
        while _saved(candidate, curves, at) < enough:
            steps = [
                _price(candidate, curves, at, chain)
                for chain, curve in enumerate(curves)
                if at[chain] + 1 < len(curve)
            ]
            if not steps:
                return found
            at[min(steps)[1]] += 1
        found[level] = _at(curves, at)
    return found


def _at(curves: Sequence[Mapping[int, float]], at: Sequence[int]) -> tuple[int, ...]:
    return tuple(list(curve)[place] for curve, place in zip(curves, at, strict=True))


def _saved(
    candidate: Candidate, curves: Sequence[Mapping[int, float]], at: Sequence[int]
) -> int:
    pairs = zip(candidate.chains, _at(curves, at), strict=True)
    kept = tuple(replace(chain, channels=width) for chain, width in pairs)
    return saved_macs(candidate, kept)


def _price(
    candidate: Candidate, curves: Sequence[Mapping[int, float]], at: Sequence[int], chain: int
) -> tuple[float, int]:
    """Return what one step more of a chain misses for each multiply-add that it saves."""
    then = [place + (number == chain) for number, place in enumerate(at)]
    now_missed, then_missed = (list(curves[chain].values())[p[chain]] for p in (at, then))
    saved = _saved(candidate, curves, then) - _saved(candidate, curves, at)
    return (then_missed - now_missed) / max(saved, 1), chain
