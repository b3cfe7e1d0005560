"""The mended example: the same network before pruning, and one that still runs after it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.benchmarks.peers.channels import (
    ChannelPruner,
    SplitC2f,
    channels_of,
    head_outputs_of,
    split_blocks,
)
from xprune.models.families import MODELS, YOLO, family_of, find_architecture
from xprune.models.ultralytics.catalogue import known_architecture

SIZE = (64, 96)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """YOLOv8n with random weights and batch norms that do something."""
    built = YOLO.build_network(known_architecture("yolov8n"), seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.uniform_(0.5, 1.5, generator=generator)
    return built


def test_split_blocks_compute_the_same(network: nn.Module) -> None:
    """To 1e-5; all eight C2f blocks are split, and the network that was given is not."""
    image = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(2))
    split = split_blocks(network)

    with torch.no_grad():
        before, after = YOLO.head_outputs(network, image), YOLO.head_outputs(split, image)

    for name in ("boxes", "scores"):
        torch.testing.assert_close(after[name], before[name], rtol=1e-5, atol=1e-5)
    assert sum(isinstance(module, SplitC2f) for module in split.modules()) == 8
    assert not any(isinstance(module, SplitC2f) for module in network.modules())


@pytest.mark.parametrize("importance", ["l1", "taylor"])
def test_channels_go_and_the_outputs_stay(network: nn.Module, importance: str) -> None:
    """What is left runs, in multiples of 8 channels; the least important ones went."""
    pytest.importorskip("torch_pruning", reason="the extra `peers` is not installed")
    split = split_blocks(network)
    gradients = {
        name: torch.rand(weight.shape, generator=torch.Generator().manual_seed(3))
        for name, weight in split.named_parameters()
    }
    image = torch.zeros(1, 3, *SIZE)
    pruner = ChannelPruner(split, importance, 8, gradients, image, YOLO.head_outputs)

    pruned = pruner.pruned(0.3)

    with torch.no_grad():
        before, after = YOLO.head_outputs(split, image), YOLO.head_outputs(pruned, image)
    assert {name: before[name].shape for name in ("boxes", "scores")} == {
        name: after[name].shape for name in ("boxes", "scores")
    }
    kept = [layer for output in head_outputs_of(pruned) for layer in output.modules()]
    assert channels_of(pruned) < 0.8 * channels_of(split)
    assert all(
        layer.out_channels % 8 == 0
        for layer in pruned.modules()
        if isinstance(layer, nn.Conv2d) and layer not in kept
    )
    assert not any(parameter.requires_grad for parameter in pruned.parameters())


@pytest.mark.parametrize("name", ["resnet20_cifar", "retinanet:resnet18"])
def test_other_families_lose_channels_too(name: str) -> None:
    """And answer in as many numbers as before."""
    pytest.importorskip("torch_pruning", reason="the extra `peers` is not installed")
    architecture = find_architecture(name)
    family = MODELS[family_of(architecture)]
    whole = family.build_network(architecture)
    image = torch.zeros(1, 3, *SIZE)

    pruned = ChannelPruner(whole, "l1", 8, {}, image, family.head_outputs).pruned(0.4)

    with torch.no_grad():
        before, after = (family.decoded(network)(image) for network in (whole, pruned))
    assert before.shape == after.shape
    assert channels_of(pruned) < 0.9 * channels_of(whole)
