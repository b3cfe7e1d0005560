"""Thinner copies keep the channels that are missed most, and what reads them makes up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runtime_bench.errors import EdgeError
from tests.reference.toy_networks import ConvBlock, noise, settled, tiny_yolo, toy
from xprune.layers.candidates import find_candidates
from xprune.layers.chains import Chain, find_chains, inside
from xprune.layers.fit import add_samples, new_moments
from xprune.layers.moments import Moments, missed_share, sampled_outputs
from xprune.layers.substitutes import (
    FAMILIES,
    Replacement,
    applicable,
    build,
    replacement,
    substitute_macs,
)
from xprune.layers.substitutes.thin import Elimination, thin_out
from xprune.layers.substitutes.windows import WINDOW_RIDGE
from xprune.layers.surgery import apply_plan, replacements_from_json
from xprune.models.families import YOLO


class Wide(nn.Module):
    """Chains of every kind: with and without norms and biases, read twice, shared, grouped."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.act = nn.SiLU()
        self.second = nn.Conv2d(32, 24, 3, bias=False)
        self.second_norm = nn.BatchNorm2d(24)
        self.gelu = nn.GELU()
        self.third = nn.Conv2d(24, 24, 1)
        self.twice_read = nn.Conv2d(24, 24, 1)
        self.grouped = nn.Conv2d(24, 24, 3, padding=1, groups=2)
        self.last = nn.Conv2d(24, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.first(x)))
        x = self.third(self.gelu(self.second_norm(self.second(x))))
        x = x + self.twice_read(x)
        return self.last(self.grouped(x))


def wide() -> Wide:
    """The same weights each time, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Wide()
    settled(network, seed=1)
    return network.to(torch.float64)


def test_chains_are_what_one_convolution_alone_reads():
    """Through norms and activations; not what a sum reads, nor into a grouped convolution."""
    network = wide()

    chains = find_chains(network, lambda: network(noise(1)))

    assert chains == (
        Chain("first", ("norm",), "second", 32, "second_norm"),
        Chain("second", ("second_norm",), "third", 24, ""),
    )


def test_chains_of_a_yolo_are_those_of_its_bottlenecks_and_branches():
    """Noise on a channel of the source reaches only the reader: found by name here."""
    network = tiny_yolo()
    images = torch.rand(1, 3, 64, 64)

    chains = find_chains(network, lambda: YOLO.head_outputs(network, images))

    pairs = {(chain.source, chain.reader) for chain in chains}
    assert ("model.4.m.0.cv1.conv", "model.4.m.0.cv2.conv") in pairs
    assert ("model.22.cv2.0.0.conv", "model.22.cv2.0.1.conv") in pairs
    assert ("model.22.cv2.0.1.conv", "model.22.cv2.0.2") in pairs
    assert ("model.0.conv", "model.1.conv") in pairs
    assert not any(reader.endswith("cv1.conv") and ".m." in reader for _, reader in pairs)
    assert inside(chains, "model.4.m.0") == (
        Chain("cv1.conv", ("cv1.bn",), "cv2.conv", 8, "cv2.bn"),
    )


def gathered(network: nn.Module, reader: str, images: Tensor) -> tuple[Moments, Tensor, Tensor]:
    """Moments of what a convolution sees and gives, and both maps."""
    layer = network.get_submodule(reader)
    seen: list[tuple[Tensor, Tensor]] = []
    handle = layer.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    network(images)
    handle.remove()
    moments = new_moments(layer)
    add_samples(moments, layer, seen[0][0], sampled_outputs(seen[0][1]))
    return moments, *seen[0]


def mixed(channels: int, outputs: int, *, seed: int) -> tuple[Tensor, nn.Conv2d, Moments]:
    """Channels that say part of the same, a 1x1 convolution that reads them, its moments."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    maps = torch.randn(5, channels, 9, 11, generator=generator, dtype=torch.float64)
    x = torch.einsum("oi,bihw->bohw", mix, maps)
    reader = nn.Conv2d(channels, outputs, 1).double().requires_grad_(False)
    moments = new_moments(reader)
    add_samples(moments, reader, x, sampled_outputs(reader(x)))
    assert isinstance(moments, Moments)
    return x, reader, moments


def penalty_of(inputs: NDArray[np.float64]) -> float:
    """The square root of the penalty: relative to the variance, and a little to the squares."""
    squares, variances = (inputs**2).sum(axis=0), inputs.var(axis=0) * len(inputs)
    return float(np.sqrt(WINDOW_RIDGE * variances.mean() + 1e-9 * squares.mean()))


def loss_without(x: Tensor, y: Tensor, kept: tuple[int, ...]) -> float:
    """The penalised error of NumPy's best 1x1 convolution from some of the channels."""
    inputs = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).numpy()
    outputs = y.permute(0, 2, 3, 1).reshape(-1, y.shape[1]).numpy()
    penalty = penalty_of(inputs)
    some = inputs[:, kept] - inputs[:, kept].mean(axis=0)
    a = np.concatenate([some, penalty * np.eye(len(kept))])
    b = np.concatenate([outputs - outputs.mean(axis=0), np.zeros((len(kept), y.shape[1]))])
    return float(((b - a @ np.linalg.lstsq(a, b, rcond=None)[0]) ** 2).sum())


def test_the_channel_that_goes_is_the_one_that_costs_least():
    """One channel less, by brute force over all of them, with the reader solved each time."""
    x, reader, moments = mixed(6, 4, seed=0)

    kept, weights = Elimination(moments, reader).keep(5)

    costs = {
        some: loss_without(x, reader(x), some) for some in itertools.combinations(range(6), 5)
    }
    assert tuple(kept.tolist()) == min(costs, key=costs.__getitem__)
    columns = [*kept.tolist()]
    inputs = x.permute(0, 2, 3, 1).reshape(-1, 6).numpy()[:, columns]
    outputs = reader(x).permute(0, 2, 3, 1).reshape(-1, 4).numpy()
    penalty = penalty_of(x.permute(0, 2, 3, 1).reshape(-1, 6).numpy())
    a = np.concatenate([inputs - inputs.mean(axis=0), penalty * np.eye(5)])
    b = np.concatenate([outputs - outputs.mean(axis=0), np.zeros((5, 4))])
    expected = np.linalg.lstsq(a, b, rcond=None)[0]
    np.testing.assert_allclose(weights[columns], expected, atol=1e-4)
    assert not weights[[c for c in range(6) if c not in columns]].any()


def test_channels_go_one_by_one_always_the_cheapest():
    """Down to a third of them, by brute force in every step, and never back."""
    x, reader, moments = mixed(18, 7, seed=5)

    kept, _ = Elimination(moments, reader).keep(6)

    left = tuple(range(18))
    while len(left) > 6:
        fewer = itertools.combinations(left, len(left) - 1)
        left = min(fewer, key=lambda some: loss_without(x, reader(x), some))
    assert tuple(kept.tolist()) == left


def test_a_channel_that_says_nothing_new_goes_first():
    """Copies and dead channels: the reader takes their part over and misses nothing."""
    network = wide()
    network.norm.weight[5:21] = 0
    images = noise(6)
    moments, _, _ = gathered(network, "second", images)

    kept, _ = Elimination(moments, network.second).keep(16)

    assert set(kept.tolist()) == {*range(5), *range(21, 32)}


def test_fewer_channels_are_some_of_those_of_a_wider_copy():
    """Each width is the same, whichever was asked for first, and reads none of the others."""
    network = wide()
    images = noise(6)
    moments, _, _ = gathered(network, "second", images)
    falling, rising = (Elimination(moments, network.second) for _ in range(2))

    widths = {count: falling.keep(count) for count in (24, 16, 8)}

    for count in (8, 16, 24):
        kept, weights = rising.keep(count)
        assert torch.equal(kept, widths[count][0])
        assert torch.equal(weights, widths[count][1])
        read = weights[:-1].reshape(32, 9, -1).abs().sum(dim=(1, 2)).nonzero().flatten()
        assert torch.equal(read, kept)
    assert {*widths[8][0].tolist()} < {*widths[16][0].tolist()} < {*widths[24][0].tolist()}


def test_what_some_channels_miss_is_what_their_weights_miss():
    """The sum of what each cost when it went, the ridge's part with it; all miss nothing."""
    network = wide()
    moments, _, _ = gathered(network, "second", noise(6))
    elimination = Elimination(moments, network.second)

    missed = {count: elimination.missed(count) for count in (32, 24, 16, 8)}

    whole = missed_share(moments, elimination.keep(32)[1])
    for count, share in missed.items():
        left_over = missed_share(moments, elimination.keep(count)[1]) - whole
        assert share == pytest.approx(left_over, rel=0.1, abs=1e-5)


def test_levels_that_round_to_the_same_channels_are_one():
    """A tower of 256 channels has all five levels, one of 32 channels only two."""
    levels = {}
    for channels in (32, 256):
        block = nn.Sequential(ConvBlock(16, channels), ConvBlock(channels, 16))
        network = nn.Sequential(ConvBlock(3, 16), block).to(torch.float64).eval()
        found = {c.name: c for c in find_candidates(network, lambda n=network: n(noise(1)))}
        fitting = [name for name in applicable(found["1"]) if name in FAMILIES["thin"]]
        widths = [replacement(found["1"], name).chains[0].channels for name in fitting]
        levels[channels] = dict(zip(fitting, widths, strict=True))

    assert list(levels[256].values()) == [64, 128, 160, 192, 224]
    assert levels[32] == {"thin-25": 8, "thin-50": 16}


def test_a_thinner_copy_that_loses_nothing_is_the_layer():
    """Where half of the channels are constant, the other half gives the same output."""
    network = wide()
    network.norm.weight[:16] = 0
    network.second_norm.weight[:8] = 0
    images = noise(6)
    chains = (
        Chain("first", ("norm",), "second", 16, "second_norm"),
        Chain("second", ("second_norm",), "third", 16, ""),
    )
    eliminations = [
        Elimination(gathered(network, chain.reader, images)[0], getattr(network, chain.reader))
        for chain in chains
    ]
    thinner = build(Replacement("wide", "thin-50", 3, 4, chains=chains), network)

    kept, missed = thin_out(thinner, network, chains, eliminations)

    assert [len(channels) for channels in kept] == [16, 16]
    assert missed < 1e-4
    before, after = network(images), thinner(images)
    assert (before - after).abs().max() < 0.05 * before.std()


@pytest.fixture(scope="module")
def found():
    """The tiny YOLO and its candidates by name."""
    network = tiny_yolo(dtype=torch.float64)
    images = noise(2, (96, 64))
    candidates = find_candidates(network, lambda: YOLO.head_outputs(network, images[:1]))
    return network, {c.name: c for c in candidates}


def macs_of(network: nn.Module, name: str, images: Tensor) -> int:
    """The multiply-adds of one layer, counted anew."""
    candidates = find_candidates(network, lambda: YOLO.head_outputs(network, images))
    return {c.name: c for c in candidates}[name].macs


@pytest.mark.parametrize("name", ["model.6.m.0", "model.22.cv2.1", "model.6", "model.8"])
@pytest.mark.parametrize("level", ["thin-50", "thin-75"])
def test_a_thinner_yolo_runs_and_survives_its_checkpoint_form(found, name, level):
    """Shapes stay, multiply-adds are as promised, and JSON brings back the same structure."""
    network, candidates = found
    if level not in applicable(candidates[name]):
        pytest.skip("too narrow for this level")
    wanted = replacement(candidates[name], level)

    cut = apply_plan(network, [wanted])
    again = apply_plan(network, replacements_from_json([wanted.to_json()]))

    images = noise(1, (96, 64))
    outputs = YOLO.head_outputs(cut, images)
    assert outputs["boxes"].shape == YOLO.head_outputs(network, images)["boxes"].shape
    assert macs_of(cut, name, images) == substitute_macs(candidates[name], level)
    again.load_state_dict(cut.state_dict())
    assert torch.equal(YOLO.head_outputs(again, images)["boxes"], outputs["boxes"])


GOOD = {"source": "first.conv", "norms": ["first.norm"], "reader": "second.conv"}
GOOD = {**GOOD, "channels": 2, "after": "second.norm"}


@pytest.mark.parametrize(
    "chain",
    [
        {**GOOD, "source": "third"},
        {**GOOD, "reader": "first.act"},
        {**GOOD, "reader": "first.conv"},
        {**GOOD, "norms": ["first.act"]},
        {**GOOD, "channels": 7},
        {**GOOD, "channels": 0},
        {**GOOD, "channels": True},
        {**GOOD, "norms": "first.norm"},
        {**GOOD, "depthwise": "first.conv"},
        {**GOOD, "depthwise": ["first.conv"]},
        {**GOOD, "depthwise": ["first.norm"]},
        {k: v for k, v in GOOD.items() if k != "after"},
        "first",
    ],
)
def test_forged_chains_are_refused(chain):
    """What is not there, or is no chain, is one line of error; the good entry is none."""
    entry = {"layer": "stage.0", "substitute": "thin-50", "in_channels": 6, "out_channels": 6}
    entry = {**entry, "stride": [1, 1]}
    apply_plan(toy(), replacements_from_json([{**entry, "chains": [GOOD]}]))

    with pytest.raises(EdgeError, match="plan") as caught:
        apply_plan(toy(), replacements_from_json([{**entry, "chains": [chain]}]))

    assert "\n" not in str(caught.value)
