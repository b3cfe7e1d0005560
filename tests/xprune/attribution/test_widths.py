"""Channels go from the chain of a block whose reader misses them least."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.reference.toy_networks import ConvBlock, noise, settled
from xprune.attribution.widths import spread_widths
from xprune.layers.candidates import Candidate, find_candidates
from xprune.layers.gather import convolution_moments
from xprune.layers.substitutes import FAMILIES, applicable, replacement, substitute_macs
from xprune.layers.substitutes.thin import Elimination

WIDE = 64


def tower() -> nn.Sequential:
    """A stem and a tower of two chains, of the first of which most channels say nothing new."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inner = nn.Sequential(ConvBlock(8, WIDE), ConvBlock(WIDE, WIDE), ConvBlock(WIDE, 8))
        network = nn.Sequential(ConvBlock(3, 8), inner)
    settled(network, seed=1)
    inner[0].norm.weight.data[16:] = 0
    return network.to(torch.float64).eval().requires_grad_(False)


def found(network: nn.Module) -> dict[str, Candidate]:
    """Its candidates by name."""
    return {c.name: c for c in find_candidates(network, lambda: network(noise(1)))}


def spread(network: nn.Module, candidates: list[Candidate]) -> list[Candidate]:
    """Their widths on two batches of noise."""
    batches = noise(8).split(4)
    steps: list[int] = []

    def told(count: int):
        return lambda: steps.append(count)

    return list(
        spread_widths(
            network, candidates, batches=2, forward=lambda i: network(batches[i]), steps=told
        )
    )


def test_the_chain_that_is_missed_least_gets_thinner_first():
    """As many multiply-adds as with the same share of each, or fewer, and less is missed."""
    network = tower()
    block = found(network)["1"]

    (wider,) = spread(network, [block])

    levels = [name for name in applicable(block) if name in FAMILIES["thin"]]
    assert list(applicable(wider)) == list(applicable(block))
    assert set(wider.widths) == set(levels)
    first, second = wider.widths["thin-50"]
    assert first == 16 < second
    for level in levels:
        assert substitute_macs(wider, level) <= substitute_macs(block, level)
        kept = {chain.reader: chain.channels for chain in replacement(wider, level).chains}
        chains = zip(block.chains, wider.widths[level], strict=True)
        assert kept == {c.reader: width for c, width in chains if width < WIDE}


def test_no_other_widths_miss_less_by_much():
    """Brute force over all pairs of widths that leave as few multiply-adds."""
    network = tower()
    block = found(network)["1"]
    batch = noise(8)
    names = [f"1.{chain.reader}" for chain in block.chains]
    moments = convolution_moments(network, names, lambda: network(batch))
    every = {
        name: Elimination(sums, network.get_submodule(name)) for name, sums in moments.items()
    }

    (wider,) = spread(network, [block])

    def missed(widths: tuple[int, ...]) -> float:
        pairs = zip(every.values(), widths, strict=True)
        return sum(elimination.missed(width) for elimination, width in pairs)

    def macs(widths: tuple[int, ...]) -> int:
        return substitute_macs(replace(block, widths={"thin-75": widths}), "thin-75")

    most = substitute_macs(block, "thin-75")
    pairs = itertools.product((8, 16, 32, 48, 64), repeat=2)
    best = min(missed(pair) for pair in pairs if pair != (64, 64) and macs(pair) <= most)
    assert missed(wider.widths["thin-75"]) <= 1.5 * best + 1e-6


def test_one_chain_or_widths_of_before_stay():
    """A block of one chain has nothing to choose; a later round keeps what the first chose."""
    network = tower()
    candidates = found(network)
    chosen = replace(candidates["1"], widths={"thin-50": (64, 8)})

    after = spread(network, [candidates["0"], chosen])

    assert after == [candidates["0"], chosen]


@pytest.mark.parametrize("level", ["thin-25", "thin-50"])
def test_widths_reach_the_replacement(level):
    """A candidate with widths gives its replacement those, and only where they are fewer."""
    block = replace(found(tower())["1"], widths={level: (WIDE, 24)})

    (chain,) = replacement(block, level).chains

    assert (chain.reader, chain.channels) == (block.chains[1].reader, 24)
