"""What one backward pass records is what gates that really stand in the network would say."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from captum.attr import LayerGradientXActivation
from torch import Tensor, nn

from tests.reference import slow_scores
from tests.reference.toy_networks import LooksTwice, noise, toy_losses
from xprune.attribution import gates
from xprune.attribution.gates import GateMoments, closed_gates, recorded_gates

LAYERS = ("stem", "stage", "stage.0.first.conv", "down", "fork.conv", "tower", "tower.2", "out")


@pytest.fixture(autouse=True)
def every_picture(monkeypatch):
    """Richer substitutes on all pictures, too, unless a test says otherwise."""
    monkeypatch.setattr(gates, "RICH_EVERY", 1)


@pytest.fixture
def images() -> Tensor:
    """Three pictures of noise."""
    return noise(3)


@pytest.fixture
def found(task, substitutes, images) -> dict[str, GateMoments]:
    """The moments of all layers, from one forward and one backward pass."""
    with recorded_gates(task.network, substitutes) as moments:
        toy_losses(task.network(images)).sum().backward()
    return moments


def one_loss(network: nn.Module) -> Callable[[Tensor, int], Tensor]:
    """The loss of one picture, by its number."""
    return lambda image, number: toy_losses(network(image), number).sum()


def gated_losses(
    network: nn.Module, images: Tensor, layer: str, gate: Tensor, substitute: nn.Module
):
    """Losses with a real gate z per picture in the network: r + z (y - r)."""
    z = gate[:, None, None, None]

    def through(module: nn.Module, args: tuple[Tensor], y: Tensor) -> Tensor:
        r = substitute(args[0])
        return r + z * (y - r)

    handle = network.get_submodule(layer).register_forward_hook(through)
    losses = toy_losses(network(images))
    handle.remove()
    return losses


@pytest.mark.parametrize("layer", LAYERS)
def test_moments_are_those_of_plain_autograd(task, substitutes, images, found, layer):
    """Layer by layer and picture by picture with `torch.autograd.grad`, calls added up."""
    pictures = slow_scores.calls(task.network, layer, images, one_loss(task.network))

    moments = found[layer]

    assert moments.elements == sum(call.y.numel() for call in pictures[0])
    assert moments.activation_abs.tolist() == pytest.approx(slow_scores.grad_act(pictures))
    for name, module in substitutes[layer].items():
        removal = slow_scores.removal(pictures, module)
        signed = slow_scores.removal_signed(pictures, module)
        assert moments.removal_abs[name].tolist() == pytest.approx(removal)
        assert (-moments.removal_sum[name]).tolist() == pytest.approx(signed)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_sum_is_the_gradient_of_a_real_gate(task, substitutes, images, found, layer):
    """d loss / d z at z = 1 by autograd, z multiplied into the network, in float64."""
    for name, module in substitutes[layer].items():
        z = torch.ones(3, dtype=torch.float64, requires_grad=True)
        losses = gated_losses(task.network, images, layer, z, module)
        (gradient,) = torch.autograd.grad(losses.sum(), z)
        assert torch.allclose(found[layer].removal_sum[name], gradient, rtol=1e-9)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_sum_is_the_slope_of_the_loss(task, substitutes, images, found, layer):
    """Central differences of the loss over a gate that opens and closes a little."""
    step = 1e-5
    for name, module in substitutes[layer].items():
        above, below = (
            gated_losses(task.network, images, layer, z * torch.ones(3).double(), module)
            for z in (1 + step, 1 - step)
        )
        slope = (above - below) / (2 * step)
        assert torch.allclose(found[layer].removal_sum[name], slope, rtol=1e-5, atol=1e-6)


def test_captum_agrees_on_gradient_times_activation(task, images, found):
    """Captum's LayerGradientXActivation, summed as the paper sums it."""
    for layer in ("stage.0", "stage.1.second.conv", "down", "mix.conv"):
        explain = LayerGradientXActivation(
            lambda x: toy_losses(task.network(x)), task.network.get_submodule(layer)
        )

        products = explain.attribute(images.clone().requires_grad_())

        sums = products.abs().sum(dim=(1, 2, 3))
        assert torch.allclose(found[layer].activation_abs, sums, rtol=1e-9)


def test_moments_do_not_depend_on_the_chunks(task, substitutes, images, found, monkeypatch):
    """Taken one picture at a time they are the same."""
    monkeypatch.setattr(gates, "CHUNK_ELEMENTS", 1)

    with recorded_gates(task.network, substitutes) as single:
        toy_losses(task.network(images)).sum().backward()

    for layer, moments in found.items():
        assert torch.allclose(single[layer].activation_abs, moments.activation_abs)
        assert single[layer].elements == moments.elements
        for name, value in moments.removal_sum.items():
            assert torch.allclose(single[layer].removal_sum[name], value)


def test_recording_leaves_nothing_behind(task, substitutes, images):
    """Weights, flags, gradients, outputs and hooks are as before; one pass served all."""
    network = task.network
    state = copy.deepcopy(network.state_dict())
    before = network(images)

    with recorded_gates(network, substitutes) as moments:
        toy_losses(network(images)).sum().backward()

    assert set(moments) == {candidate.name for candidate in task.candidates}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert not any(w.requires_grad or w.grad is not None for w in network.parameters())
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert torch.equal(network(images), before)
    assert not images.requires_grad


def test_hooks_go_when_the_network_fails(task, substitutes):
    """An error inside the block passes through, and no hook stays."""
    with pytest.raises(RuntimeError), recorded_gates(task.network, substitutes):
        task.network(torch.rand(1, 4, 8, 8))

    assert not any(module._forward_hooks for module in task.network.modules())


def test_closed_gates_put_the_substitute_in_place(task, substitutes, images):
    """z = 0 of the real gate, for several layers at once, and only inside the block."""
    network = task.network
    closed = {
        "stage.0": substitutes["stage.0"]["affine"],
        "tower": substitutes["tower"]["linear"],
    }
    open_losses = toy_losses(network(images))

    with closed_gates(network, closed):
        losses = toy_losses(network(images))

    with closed_gates(network, {"tower": closed["tower"]}):
        zero = torch.zeros(3, dtype=torch.float64)
        wanted = gated_losses(network, images, "stage.0", zero, closed["stage.0"])
    assert torch.allclose(losses, wanted, rtol=1e-12)
    assert torch.equal(toy_losses(network(images)), open_losses)


def test_batches_are_appended():
    """Pictures follow each other; a batch that does not tell the layer's size changes none."""
    moments = GateMoments()

    for elements, values in ((6, [1.0, 2.0]), (1, [0.0])):
        part = torch.tensor(values)
        moments.extend(GateMoments(elements, part, {"zero": part}, {"zero": -part}))

    assert moments.elements == 6
    assert moments.activation_abs.tolist() == [1, 2, 0]
    assert moments.removal_abs["zero"].tolist() == [1, 2, 0]
    assert moments.removal_sum["zero"].tolist() == [-1, -2, 0]


@pytest.mark.parametrize("batches", [(3,), (1, 2), (2, 1)])
@pytest.mark.parametrize("chunk", [1, 1 << 18])
def test_richer_substitutes_are_scored_on_some_pictures(
    task, substitutes, images, found, monkeypatch, batches, chunk
):
    """The first picture of all and every second after it, however they are batched."""
    monkeypatch.setattr(gates, "RICH_EVERY", 2)
    monkeypatch.setattr(gates, "CHUNK_ELEMENTS", chunk)
    some, first = GateMoments(), 0

    for count in batches:
        part = slice(first, first + count)
        with recorded_gates(task.network, substitutes, first) as moments:
            toy_losses(task.network(images[part]), first).sum().backward()
        some.extend(moments["stage"])
        first += count

    whole = found["stage"].removal_sum
    assert torch.allclose(some.removal_sum["depthwise"], whole["depthwise"][::2])
    assert torch.allclose(some.removal_sum["linear"], whole["linear"])


@pytest.mark.parametrize("chunk", [1, 1 << 18])
@pytest.mark.parametrize("every", [1, 2])
def test_a_head_with_rows_for_each_region_is_scored_by_picture(monkeypatch, chunk, every):
    """What plain autograd gives for each picture alone, its four rows added up."""
    monkeypatch.setattr(gates, "CHUNK_ELEMENTS", chunk)
    monkeypatch.setattr(gates, "RICH_EVERY", every)
    torch.manual_seed(0)
    network = LooksTwice().double().eval().requires_grad_(False)
    images = noise(3, (16, 16))
    substitute = nn.Conv2d(6, 6, 1).double().requires_grad_(False)
    choices = {"head.conv": {"depthwise": substitute, "zero": nn.Identity()}}

    with recorded_gates(network, choices) as moments:
        losses = network(images).square().sum(1)
        moments.pictures = len(losses)
        losses.sum().backward()

    found = moments["head.conv"]
    calls = slow_scores.calls(
        network, "head.conv", images, lambda image, number: network(image).square().sum()
    )
    assert calls[0][0].y.shape[0] == 4
    assert found.elements == calls[0][0].y.numel()
    assert found.activation_abs.tolist() == pytest.approx(slow_scores.grad_act(calls))
    wanted = slow_scores.removal(calls, substitute)[::every]
    assert found.removal_abs["depthwise"].tolist() == pytest.approx(wanted)
