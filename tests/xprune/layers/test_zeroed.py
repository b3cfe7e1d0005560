"""Weights are zeroed, nothing is cut."""

from __future__ import annotations

import torch
from torch import nn

from xprune.layers.zeroed import zeroed


def test_the_convolutions_of_the_chosen_layers_weigh_nothing() -> None:
    """All others, and the network that was given, stay as they were."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    network = nn.Sequential(block, nn.Conv2d(4, 2, 1))

    changed = zeroed(network, ["0"])

    assert not changed.get_submodule("0.0").weight.any()
    assert torch.equal(changed.get_submodule("1").weight, network[1].weight)
    assert block[0].weight.any()
    assert [p.shape for p in changed.parameters()] == [p.shape for p in network.parameters()]
