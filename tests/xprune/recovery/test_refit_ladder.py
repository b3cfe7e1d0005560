"""Richer substitutes are solved in the walk of a refit, from what the cut network gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.reference.toy_networks import ConvBlock, Residual, noise, settled, toy
from xprune.layers import moments as sums
from xprune.layers.candidates import find_candidates
from xprune.layers.moments import Samples
from xprune.layers.substitutes import Clip, replacement
from xprune.layers.surgery import apply_plan
from xprune.recovery.refit import refit, solvable_layers
from xprune.recovery.thin import thin_layers


def run(network: nn.Module, images: Tensor) -> Tensor:
    """Run a network, as `refit` wants it."""
    return network(images)


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """A network in float64 with the same weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return settled(build(), seed=1).to(torch.float64)


WIDE_RUNGS = ("depthwise", "lowrank-25", "lowrank-50", "convolution", "thin-50")


def wide_toy() -> nn.Module:
    """Blocks wide enough for every substitute, in float64."""
    return seeded(
        lambda: nn.Sequential(
            ConvBlock(3, 32, 2), Residual(32), ConvBlock(32, 48), Residual(48)
        )
    )


@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.parametrize("substitute", WIDE_RUNGS)
def test_richer_substitutes_are_solved_in_the_walk(substitute, convolutions):
    """Each comes closer than the mean, and closer than before it was solved."""
    original, images = wide_toy(), noise(12)
    found = {c.name: c for c in find_candidates(original, lambda: original(noise(1)))}
    cut = apply_plan(original, [replacement(found["1"], substitute)])
    layers = solvable_layers(cut, ["1"], convolutions=convolutions)

    errors = refit(original, cut, images, run=run, layers=layers)

    inner = ["1.first.conv", "1.second.conv"] if substitute.startswith("thin") else ["1"]
    assert [name for name in layers if inside_first(name)] == inner
    assert set(errors) == set(layers)
    assert 0 < errors[inner[-1]] < 0.9
    unsolved = apply_plan(original, [replacement(found["1"], substitute)])
    wanted = original(images)
    assert spread(cut(images) - wanted) < spread(unsolved(images) - wanted)
    assert spread(cut(images) - wanted) < spread(wanted)


def inside_first(name: str) -> bool:
    """Whether a layer is the first block, or is inside it."""
    return name.split(".")[0] == "1"


def spread(maps: Tensor) -> float:
    """Sum of squares about the mean of each channel."""
    return float((maps - maps.mean(dim=(0, 2, 3), keepdim=True)).pow(2).sum())


def test_a_thinner_copy_sees_what_the_cut_network_gives():
    """Behind a bypass, the copy's convolutions make up for it as well as for its own loss."""
    original, images = wide_toy(), noise(12)
    found = {c.name: c for c in find_candidates(original, lambda: original(noise(1)))}
    plan = [replacement(found["1"], "identity"), replacement(found["3"], "thin-50")]
    cut = apply_plan(original, plan)

    layers = solvable_layers(cut, ["1", "3"], convolutions=False)
    errors = refit(original, cut, images, run=run, layers=layers)

    assert list(errors) == ["3.first.conv", "3.second.conv"]
    start = apply_plan(original, plan)
    thin_layers(original, start, images, run=run, batch=4)
    wanted = original(images)
    assert spread(cut(images) - wanted) < spread(start(images) - wanted)
    widths = [cut[3].first.conv.out_channels, cut[3].second.conv.in_channels]
    assert widths == [32, 32]


class Inverted(nn.Module):
    """Wide in the middle, as MobileNetV2's blocks: out, each channel alone, and back."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.out = nn.Conv2d(channels, wide, 1, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        self.alone = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False)
        self.norm_alone = nn.BatchNorm2d(wide)
        self.back = nn.Conv2d(wide, channels, 1, bias=False)
        self.norm_back = nn.BatchNorm2d(channels)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        inside = self.act(self.norm_alone(self.alone(self.act(self.norm(self.out(x))))))
        return self.norm_back(self.back(inside))


@pytest.mark.parametrize("convolutions", [False, True])
def test_a_thinner_inverted_residual_is_solved_around_its_depthwise_part(convolutions):
    """What gives and what reads its channels; the depthwise convolution keeps its weights."""
    original = seeded(
        lambda: nn.Sequential(ConvBlock(3, 32, 2), Inverted(32, 64), ConvBlock(32, 16))
    )
    images = noise(12)
    found = {c.name: c for c in find_candidates(original, lambda: original(noise(1)))}
    plan = [replacement(found["1"], "thin-50")]
    cut, start = apply_plan(original, plan), apply_plan(original, plan)
    layers = solvable_layers(cut, ["1"], convolutions=convolutions)

    errors = refit(original, cut, images, run=run, layers=layers)

    assert [name for name in layers if inside_first(name)] == ["1.out", "1.back"]
    assert set(errors) == set(layers)
    kept = thin_layers(original, start, images, run=run, batch=4)
    assert list(kept) == ["1.out", "1.alone"]
    assert torch.equal(kept["1.out"], kept["1.alone"])
    assert torch.equal(cut[1].alone.weight, original[1].alone.weight[kept["1.alone"]])
    assert cut[1].alone.groups == cut[1].back.in_channels == 32
    wanted = original(images)
    assert spread(cut(images) - wanted) < 0.5 * spread(wanted)


def test_a_clip_is_fitted_and_never_worse_than_a_plain_one():
    """A scale, a shift and a floor bring it closer to the activation that it replaces."""
    original, images = wide_toy(), noise(12)
    found = {c.name: c for c in find_candidates(original, lambda: original(noise(1)))}
    cut = apply_plan(original, [replacement(found["2.act"], "clip")])
    plain = apply_plan(original, [replacement(found["2.act"], "clip")])

    errors = refit(original, cut, images, run=run, layers=["2.act"])

    before = original[2](original[:2](images))
    assert errors["2.act"] > 0
    missed = ((cut[:3](images) - before) ** 2).sum() / ((plain[:3](images) - before) ** 2).sum()
    assert missed < 0.3


@pytest.mark.parametrize(
    ("activation", "mean", "spread"),
    [(nn.SiLU(), 0, 1), (nn.SiLU(), -2, 1.5), (nn.GELU(), 0, 1), (nn.ELU(), -0.5, 1)],
)
def test_a_fitted_clip_is_the_best_of_a_dense_search(activation, mean, spread):
    """One channel: no scale, shift and floor of a grid misses clearly less."""
    inputs = mean + spread * torch.randn(2048, 1, generator=torch.Generator().manual_seed(3))
    outputs = activation(inputs)
    clip = Clip(1)

    missed = clip.solve(Samples(inputs, outputs))

    scales = torch.linspace(0.1, 1.2, 45)[:, None, None, None]
    shifts = torch.linspace(-0.6, 0.6, 49)[:, None, None]
    least = np.inf
    for floor in torch.linspace(float(outputs.min()), 0, 25):
        found = torch.maximum(scales * inputs[:, 0] + shifts, floor)
        least = min(least, float((found - outputs[:, 0]).square().sum(dim=-1).min()))
    spread_of_outputs = float((outputs - outputs.mean()).square().sum())
    assert missed < 1.1 * least / spread_of_outputs
    assert float(clip.floor.detach()) <= 0


def test_a_clip_of_what_never_dips_is_a_relu():
    """The floor is never above 0, where the least step of 8 bits could not clip."""
    inputs = torch.randn(512, 2, generator=torch.Generator().manual_seed(4))
    clip = Clip(2)

    clip.solve(Samples(inputs, 1 + inputs.exp()))

    assert float(clip.floor.detach()) == 0


def test_without_a_bias_the_layer_behind_takes_the_shift():
    """A linear map before a padded convolution has none; it is NumPy's ridge without one."""
    original, images = toy(), noise(6)
    found = {c.name: c for c in find_candidates(original, lambda: original(noise(1)))}
    cut = apply_plan(original, [replacement(found["stage.0"], "linear")])

    refit(original, cut, images, run=run, layers=["stage.0"])

    assert cut.stage[0].conv.bias is None
    seen = sums.sampled_outputs(original.stem(images)).flatten(0, 1).numpy()
    wanted = sums.sampled_outputs(original.stage[0](original.stem(images))).flatten(0, 1)
    pull = np.sqrt(sums.RIDGE * (seen**2).sum(axis=0).mean()) * np.eye(6)
    system, target = np.concatenate([seen, pull]), np.concatenate([wanted, np.zeros((6, 6))])
    expected = np.linalg.lstsq(system, target, rcond=None)[0]
    np.testing.assert_allclose(cut.stage[0].conv.weight[:, :, 0, 0].T, expected, atol=1e-8)
    inner = original.stage[1].first
    target = inner.conv(original.stage[0](original.stem(images)))
    refit(original, cut, images, run=run, layers=["stage.1.first.conv"])
    shift = inner.norm.running_mean - cut.stage[1].first.norm.running_mean
    found_means = cut.stage[1].first.conv(cut.stage[0](cut.stem(images))).mean(dim=(0, 2, 3))
    assert torch.allclose(found_means + shift, target.mean(dim=(0, 2, 3)), atol=1e-3)
