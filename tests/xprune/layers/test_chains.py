"""Chains of torchvision's networks: shared activations, depthwise convolutions, pooling."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from tests.reference.toy_networks import settled
from xprune.layers.candidates import Candidate, find_candidates
from xprune.layers.chains import Chain, find_chains
from xprune.layers.fit import add_samples, new_moments
from xprune.layers.moments import Moments, sampled_outputs
from xprune.layers.substitutes import applicable, build, replacement, substitute_macs
from xprune.layers.substitutes.thin import Elimination, thin_out
from xprune.layers.surgery import apply_plan, replacements_from_json

# How many there are, and one of them.
CHAINS = {
    "resnet18": (
        8,
        Chain("layer1.0.conv1", ("layer1.0.bn1",), "layer1.0.conv2", 64, "layer1.0.bn2"),
    ),
    "resnet50": (
        32,
        Chain("layer1.0.conv2", ("layer1.0.bn2",), "layer1.0.conv3", 64, "layer1.0.bn3"),
    ),
    "mobilenet_v2": (
        19,
        Chain(
            "features.3.conv.0.0",
            ("features.3.conv.1.1", "features.3.conv.0.1"),
            "features.3.conv.2",
            144,
            "features.3.conv.3",
            ("features.3.conv.1.0",),
        ),
    ),
    "shufflenet_v2_x0_5": (
        16,
        Chain(
            "stage2.1.branch2.0",
            ("stage2.1.branch2.4", "stage2.1.branch2.1"),
            "stage2.1.branch2.5",
            24,
            "stage2.1.branch2.6",
            ("stage2.1.branch2.3",),
        ),
    ),
    "vgg11": (7, Chain("features.0", (), "features.3", 64, "")),  # max pooling in between
}
BLOCKS = {
    "resnet18": "layer3.1",
    "resnet50": "layer2.1",
    "mobilenet_v2": "features.8",
    "shufflenet_v2_x0_5": "stage4.1.branch2",
}


@functools.cache
def network_of(name: str) -> nn.Module:
    """With random weights, the same each time, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = getattr(torchvision.models, name)(weights=None)
        settled(network, seed=1)
    return network.to(torch.float64).requires_grad_(False).eval()


def pictures(count: int = 1) -> Tensor:
    """A batch, large enough that the last maps still are maps."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, 3, 64, 64, generator=generator, dtype=torch.float64)


def run_with(network: nn.Module, hooks: dict[str, Callable[..., Any]]) -> Tensor:
    """The output while modules' inputs or outputs are looked at or changed."""
    handles = [
        network.get_submodule(name.removeprefix("before ")).register_forward_pre_hook(hook)
        if name.startswith("before ")
        else network.get_submodule(name).register_forward_hook(hook)
        for name, hook in hooks.items()
    ]
    output = network(pictures())
    for handle in handles:
        handle.remove()
    return output


@pytest.mark.parametrize("name", CHAINS)
def test_the_chains_of_torchvisions_networks(name):
    """One ReLU module that serves a whole block hides nothing."""
    network = network_of(name)

    chains = find_chains(network, lambda: network(pictures()))

    count, one = CHAINS[name]
    assert one in chains
    assert len(chains) == count


@pytest.mark.parametrize("name", CHAINS)
def test_a_channel_of_a_chain_is_seen_by_its_reader_alone(name):
    """Another channel at the source is another channel at the reader, and nothing else."""
    network = network_of(name)
    output = network(pictures())
    chains = find_chains(network, lambda: network(pictures()))

    for chain in chains[:: max(1, len(chains) // 4)]:
        seen: dict[str, Tensor] = {}

        def look(_: nn.Module, args: tuple[Tensor], seen: dict[str, Tensor] = seen) -> None:
            seen["plain"] = args[0].clone()

        def change(
            _: nn.Module, __: object, given: Tensor, seen: dict[str, Tensor] = seen
        ) -> Tensor:
            given[:, most_alive(seen["plain"])] += 1000
            return given

        def restore(
            _: nn.Module, args: tuple[Tensor], seen: dict[str, Tensor] = seen
        ) -> Tensor:
            seen["other"] = args[0].clone()
            return seen["plain"]

        run_with(network, {f"before {chain.reader}": look})
        changed = run_with(network, {chain.source: change, f"before {chain.reader}": restore})

        assert torch.equal(changed, output)
        differs = (seen["other"] != seen["plain"]).any(dim=(0, 2, 3))
        assert differs.nonzero().flatten().tolist() == [most_alive(seen["plain"])]


def most_alive(maps: Tensor) -> int:
    """The channel that a ReLU before it leaves most of."""
    return int(maps.std(dim=(0, 2, 3)).argmax())


def test_functions_are_followed_as_modules_are():
    """A network that calls `relu` by itself, in place or not, and one that reads twice."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv2d(3, 8, 1)
            self.two = nn.Conv2d(8, 8, 1)
            self.three = nn.Conv2d(8, 8, 1)
            self.four = nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.two(functional.relu(self.one(x), inplace=True))
            x = self.three(functional.max_pool2d(x.relu_(), 2))
            active = functional.silu(x)
            return self.four(active) + active

    network = Plain().eval()

    chains = find_chains(network, lambda: network(torch.rand(1, 3, 8, 8)))

    assert [(chain.source, chain.reader) for chain in chains] == [
        ("one", "two"),
        ("two", "three"),
    ]


@functools.cache
def block_of(name: str) -> Candidate:
    """A block with a chain inside."""
    network = network_of(name)
    found = find_candidates(network, lambda: network(pictures()))
    return {candidate.name: candidate for candidate in found}[BLOCKS[name]]


@pytest.mark.parametrize("name", BLOCKS)
def test_a_thinner_block_runs_and_survives_its_checkpoint_form(name):
    """Its multiply-adds are as promised, and JSON brings back the same structure."""
    network, block = network_of(name), block_of(name)
    assert "thin-50" in applicable(block)
    wanted = replacement(block, "thin-50")

    cut = apply_plan(network, [wanted])
    again = apply_plan(network, replacements_from_json([wanted.to_json()]))

    found = find_candidates(cut, lambda: cut(pictures()))
    counted = {candidate.name: candidate.macs for candidate in found}[block.name]
    assert counted == substitute_macs(block, "thin-50")
    again.load_state_dict(cut.state_dict())
    assert torch.equal(again(pictures(2)), cut(pictures(2)))


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v2_x0_5"])
def test_a_block_thinned_of_dead_channels_is_the_block(name):
    """Those whose depthwise convolution gives a constant go, and the rest computes the same."""
    network, block = network_of(name), block_of(name)
    layer = network.get_submodule(block.name)
    wanted = replacement(block, "thin-50")
    (chain,) = wanted.chains
    whole = layer.get_submodule(chain.source).out_channels
    dead = torch.randperm(whole, generator=torch.Generator().manual_seed(3))[: whole // 2]
    after_depthwise = layer.get_submodule(chain.norms[0])
    weights = after_depthwise.weight.clone()
    after_depthwise.weight[dead] = 0
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(8, *block.input_shapes[0], generator=generator, dtype=torch.float64)
    reader = layer.get_submodule(chain.reader)
    moments = new_moments(reader)
    seen: list[tuple[Tensor, Tensor]] = []
    handle = reader.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    before = layer(x)
    handle.remove()
    add_samples(moments, reader, seen[0][0], sampled_outputs(seen[0][1]))
    assert isinstance(moments, Moments)
    assert isinstance(reader, nn.Conv2d)
    thinner = build(wanted, layer)

    kept, missed = thin_out(thinner, layer, wanted.chains, [Elimination(moments, reader)])

    spread = seen[0][0].std(dim=(0, 2, 3))
    alive = {*(spread > 0.05 * spread.max()).nonzero().flatten().tolist()}
    assert len(alive) > 8
    assert alive <= {*kept[0].tolist()}
    assert missed < 1e-4
    assert (thinner(x) - before).abs().max() < 0.05 * before.std()
    after_depthwise.weight.copy_(weights)
