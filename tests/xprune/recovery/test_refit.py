"""A refit brings back what can be brought back, in order, and touches nothing else."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.reference.toy_networks import ConvBlock, Residual, noise, settled, tiny_yolo, toy
from xprune.layers import fit as fitting
from xprune.layers import moments as sums
from xprune.layers.candidates import find_candidates
from xprune.layers.substitutes import Replacement, replacement
from xprune.layers.surgery import apply_plan
from xprune.models.families import YOLO
from xprune.recovery.refit import refit, solvable_layers


def run(network: nn.Module, images: Tensor) -> Tensor:
    """Run a network, as `refit` wants it."""
    return network(images)


def cut_toy(network: nn.Module, chosen: dict[str, str]) -> nn.Module:
    """The toy with layers replaced, the substitutes not solved; linear ones have a bias."""
    found = {c.name: c for c in find_candidates(network, lambda: network(noise(1)))}
    plan = [replacement(found[name], how) for name, how in chosen.items()]
    return apply_plan(network, [dataclasses.replace(wanted, bias=True) for wanted in plan])


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """A network in float64 with the same weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return settled(build(), seed=1).to(torch.float64)


def distance(first: Tensor, second: Tensor) -> float:
    """The largest difference over the largest value."""
    return float((first - second).abs().max() / second.abs().max())


@pytest.fixture
def no_ridge(monkeypatch):
    """Substitutes that could be exact come out exact."""
    monkeypatch.setattr(sums, "RIDGE", 1e-13)


@pytest.fixture
def no_pull(monkeypatch):
    """Convolutions that could be exact come out exact, but for sums in float32."""
    monkeypatch.setattr(fitting, "CONVOLUTION_RIDGE", 1e-9)


def linear_toy() -> nn.Module:
    """The toy with a first residual block that is linear: two 1x1 convolutions in a row."""
    network = toy()
    network.stage[0] = seeded(
        lambda: nn.Sequential(nn.Conv2d(6, 9, 1), nn.BatchNorm2d(9), nn.Conv2d(9, 6, 1))
    )
    return network


@pytest.mark.parametrize("convolutions", [False, True])
def test_a_linear_block_is_recovered_exactly(no_ridge, convolutions):
    """The substitute becomes the block, so the cut network becomes the original."""
    original, images = linear_toy(), noise(6)
    cut = cut_toy(original, {"stage.0": "linear"})
    before = distance(cut(images), original(images))
    layers = solvable_layers(cut, ["stage.0"], convolutions=convolutions)

    errors = refit(original, cut, images, run=run, layers=layers)

    assert distance(cut(images), original(images)) < 1e-3 * before
    assert set(errors) == set(layers)
    assert errors["stage.0"] < 1e-9
    assert max(errors.values()) < 1e-3  # small differences of large sums, in float32


def test_a_scaled_block_is_recovered_by_an_affine(no_ridge):
    """A block that scales and shifts is what an affine substitute can be."""
    original, images = toy(), noise(6)
    original.stage[1] = seeded(lambda: nn.Sequential(nn.BatchNorm2d(6)))
    cut = cut_toy(original, {"stage.1": "affine"})

    refit(original, cut, images, run=run, layers=["stage.1"])

    assert distance(cut(images), original(images)) < 1e-9


class Doubled(nn.Module):
    """A block, then a convolution that can undo what bypassing the block does."""

    def __init__(self, *, bias: bool, norm: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 1))
        self.conv = nn.Conv2d(3, 4, 3, padding=0, bias=bias)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.body(x)))


@pytest.mark.parametrize(("bias", "norm"), [(True, True), (True, False), (False, True)])
def test_the_layer_after_a_bypass_makes_up_for_it(no_pull, bias, norm):
    """Exactly, since linear maps merge; without a bias the shift goes into the norm's mean."""
    original = seeded(lambda: Doubled(bias=bias, norm=norm))
    images = noise(6, (12, 12))
    cut = apply_plan(original, [Replacement("body", "identity", 3, 3)])

    errors = refit(original, cut, images, run=run, layers=["conv"])

    assert distance(cut(images), original(images)) < 1e-4
    assert errors["conv"] < 1e-6
    if norm:
        moved = not torch.equal(cut.norm.running_mean, original.norm.running_mean)
        assert moved is not bias


def test_without_bias_and_norm_the_shift_stays(no_pull):
    """What a convolution cannot express is reported as missed, not hidden."""
    original = seeded(lambda: Doubled(bias=False, norm=False))
    original.body[0].bias.fill_(2)
    images = noise(6, (12, 12))
    cut = apply_plan(original, [Replacement("body", "identity", 3, 3)])

    errors = refit(original, cut, images, run=run, layers=["conv"])

    gone = (cut(images) - original(images)).pow(2).sum()
    mean = original(images).mean(dim=(0, 2, 3), keepdim=True)
    total = (original(images) - mean).pow(2).sum()
    assert errors["conv"] == pytest.approx(float(gone / total), rel=1e-3)


class SecondReader(nn.Module):
    """A convolution whose output a norm reads, and a sum as well."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 1))
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.block = nn.Sequential(nn.BatchNorm2d(3), nn.SiLU(), nn.Conv2d(3, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.body(x))
        return y + self.block(y)


@pytest.mark.parametrize("removed", [["body"], ["body", "block"]])
def test_a_norm_with_another_reader_is_left_alone(removed):
    """Its mean stays as it is, also when the block that holds it is gone."""
    original = seeded(SecondReader)
    images = noise(4, (12, 12))
    cut = apply_plan(original, [Replacement(name, "identity", 3, 3) for name in removed])

    refit(original, cut, images, run=run, layers=["conv"])

    if "block" not in removed:
        before, after = original.block[0].running_mean, cut.block[0].running_mean
        assert torch.equal(before, after)
    assert not torch.equal(cut.conv.weight, original.conv.weight)


def test_only_what_is_listed_changes():
    """Tensors of listed layers, and the means of the norms behind their convolutions."""
    original, images = toy(), noise(6)
    cut = cut_toy(original, {"stage.0": "linear", "tower": "affine"})
    before = copy.deepcopy(cut.state_dict())
    whole = copy.deepcopy(original.state_dict())

    refit(original, cut, images, run=run, layers=["stage.0", "stage.1.first.conv"])

    changed = {n for n, value in cut.state_dict().items() if not torch.equal(before[n], value)}
    assert changed == {
        "stage.0.conv.weight",
        "stage.0.conv.bias",
        "stage.1.first.conv.weight",
        "stage.1.first.norm.running_mean",
    }
    assert all(torch.equal(whole[n], value) for n, value in original.state_dict().items())
    for network in (original, cut):
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
        assert not any(w.requires_grad for w in network.parameters())


def test_layers_are_solved_in_the_order_in_which_they_run():
    """Whatever the order of the list; each sees the new weights of those before it."""
    original, images = toy(), noise(6)
    cut = cut_toy(original, {"stage.0": "linear", "stage.1": "linear"})
    solved: list[str] = []
    layers = ["out", "stage.1", "down.conv", "stage.0"]

    refit(original, cut, images, run=run, layers=layers, on_solved=solved.append)

    assert solved == ["stage.0", "stage.1", "down.conv", "out"]


def test_later_layers_are_fitted_to_what_earlier_ones_give_now():
    """The second substitute is NumPy's ridge from the cut network's map to the original's."""
    original, images = toy(), noise(6)
    cut = cut_toy(original, {"stage.0": "linear", "stage.1": "linear"})

    refit(original, cut, images, run=run, layers=["stage.0", "stage.1"])

    # 16 x 20 positions are more than are sampled: the same ones as `fit` takes.
    seen = sums.sampled_outputs(cut.stage[0](cut.stem(images))).flatten(0, 1).numpy()
    wanted = sums.sampled_outputs(original.stage(original.stem(images))).flatten(0, 1).numpy()
    pull = np.sqrt(sums.RIDGE * (seen**2).sum(axis=0).mean()) * np.eye(6)
    system = np.block([[seen, np.ones((len(seen), 1))], [pull, np.zeros((6, 1))]])
    expected = np.linalg.lstsq(system, np.concatenate([wanted, np.zeros((6, 6))]), rcond=None)[
        0
    ]
    np.testing.assert_allclose(cut.stage[1].conv.weight[:, :, 0, 0].T, expected[:-1], atol=1e-8)
    np.testing.assert_allclose(cut.stage[1].conv.bias, expected[-1], atol=1e-8)


def test_a_layer_that_runs_three_times_is_solved_over_all_calls(no_ridge):
    """A linear tower is recovered on all three sizes, and what comes after it as well."""
    original, images = toy(), noise(6)
    original.tower = seeded(lambda: nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)))
    cut = cut_toy(original, {"tower": "linear"})
    solved: list[str] = []

    errors = refit(
        original, cut, images, run=run, layers=["tower", "out"], on_solved=solved.append
    )

    assert solved == ["tower", "out"]
    assert distance(cut(images), original(images)) < 1e-5
    assert errors["tower"] < 1e-9
    assert errors["out"] < 1e-3  # a small difference of large sums, in float32


def test_layers_inside_a_shared_tower_are_solved_in_turn():
    """After a bypass, each convolution of the tower is solved over its three calls."""
    original, images = toy(), noise(6)
    cut = cut_toy(original, {"stage.1": "identity"})
    solved: list[str] = []
    layers = ["mix.conv", "tower.0", "tower.2", "out"]

    errors = refit(original, cut, images, run=run, layers=layers, on_solved=solved.append)

    assert solved == layers
    assert all(0 <= error <= 1 for error in errors.values())


def test_convolutions_make_up_for_a_bypass_of_a_yolo():
    """Refitting the rest brings raw head outputs closer than the substitutes alone do."""
    original = tiny_yolo()
    images = torch.rand(12, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def outputs(network: nn.Module, pictures: Tensor) -> Tensor:
        found = YOLO.head_outputs(network, pictures)
        return torch.cat([found["boxes"], found["scores"]], dim=1)

    found = {
        c.name: c for c in find_candidates(original, lambda: outputs(original, images[:1]))
    }
    plan = [replacement(found[n], "linear") for n in ("model.4.m.0", "model.6", "model.5")]
    distances = []
    for convolutions in (False, True):
        cut = apply_plan(original, plan)
        layers = solvable_layers(cut, [one.layer for one in plan], convolutions=convolutions)
        refit(original, cut, images, run=outputs, layers=layers)
        distances.append(
            float((outputs(cut, images) - outputs(original, images)).pow(2).mean())
        )

    unsolved = outputs(apply_plan(original, plan), images) - outputs(original, images)
    assert distances[1] < distances[0] < float(unsolved.pow(2).mean())


def test_the_batches_of_the_original_do_not_matter(monkeypatch):
    """Targets are gathered in several batches or in one; the solution is the same."""
    original, images = toy(), noise(5)
    solutions = []
    for batch in (2, 16):
        monkeypatch.setattr("xprune.recovery.refit.BATCH", batch)
        cut = cut_toy(original, {"stage.0": "linear"})
        refit(original, cut, images, run=run, layers=["stage.0", "tower.0"])
        solutions.append(cut(images))

    assert distance(solutions[0], solutions[1]) < 1e-9


def test_solvable_layers_leave_the_inside_of_substitutes_alone():
    """Substitutes with weights by their own name, and plain convolutions if they are wanted."""
    network = nn.Sequential(
        ConvBlock(3, 4), Residual(4), nn.Conv2d(4, 4, 3, groups=4), Residual(4)
    )
    cut = apply_plan(
        network, [Replacement("1", "linear", 4, 4), Replacement("3", "identity", 4, 4)]
    )

    assert solvable_layers(cut, ["1", "3"], convolutions=False) == ["1"]
    assert solvable_layers(cut, ["1", "3"], convolutions=True) == ["0.conv", "1"]


class Sharing(nn.Module):
    """A convolution of its own, which a block uses as well."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 3, 1)
        self.block = nn.Sequential(nn.Conv2d(3, 3, 1), self.shared)
        self.out = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.shared(self.block(x)))


def test_a_layer_that_runs_fewer_times_is_left_as_it_is():
    """With the block, one of its calls is gone; the others are solved all the same."""
    original, images = seeded(Sharing), noise(4, (12, 12))
    cut = apply_plan(original, [Replacement("block", "linear", 3, 3)])

    errors = refit(original, cut, images, run=run, layers=["block", "shared", "out"])

    assert set(errors) == {"block", "out"}
    assert torch.equal(cut.shared.weight, original.shared.weight)


def test_a_layer_that_never_runs_is_no_trouble():
    """It has no outputs to come close to, so it is left out of the answer."""
    original, images = toy(), noise(3)
    original.spare = nn.Conv2d(3, 3, 1).double().requires_grad_(False)
    cut = cut_toy(original, {"stage.0": "linear"})

    errors = refit(original, cut, images, run=run, layers=["spare", "stage.0"])

    assert list(errors) == ["stage.0"]


class Classifier(nn.Module):
    """Two convolutions, the mean over places, and a linear layer on it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.block = nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) to logits (B, 4)."""
        return self.head(self.block(self.stem(x)).mean((2, 3)))


def test_a_linear_layer_makes_up_for_what_went_before_it(no_ridge, no_pull):
    """A bypassed linear map before it is one that it can take in: the logits are as before."""
    network = seeded(Classifier)
    found = {c.name: c for c in find_candidates(network, lambda: network(noise(1)))}
    cut = apply_plan(network, [replacement(found["block"], "identity")])
    images = noise(40)
    before = distance(cut(images), network(images))

    solved = solvable_layers(cut, ["block"], convolutions=True)
    errors = refit(network, cut, images, run=run, layers=["head"])

    assert "head" in solved
    assert before > 0.1
    assert errors["head"] < 1e-6
    assert distance(cut(images), network(images)) < 1e-3


def test_a_linear_layer_that_sees_what_it_always_saw_stays(no_ridge):
    """It is pulled to its own weights, which are right."""
    network = seeded(Classifier)
    cut = copy.deepcopy(network)

    refit(network, cut, noise(40), run=run, layers=["head"])

    torch.testing.assert_close(cut.head.weight, network.head.weight, rtol=1e-6, atol=1e-9)


def test_a_linear_layer_on_tokens_or_of_great_width_is_left_as_it_is():
    """Rows of tokens are no maps; and sums over 25,088 inputs would take 5 GB."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 3, padding=1)
            self.mix = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(self.stem(x).flatten(2).transpose(1, 2))

    network = seeded(Tokens)
    cut = copy.deepcopy(network)

    assert refit(network, cut, noise(4), run=run, layers=["mix"]) == {}
    assert torch.equal(cut.mix.weight, network.mix.weight)
    assert not fitting.is_solvable(nn.Linear(25_088, 2, device="meta"))
