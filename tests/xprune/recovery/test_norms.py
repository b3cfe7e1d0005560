"""A normalisation counts only where a convolution feeds it, and nothing else in between."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.reference.toy_networks import noise, tiny_yolo, toy
from xprune.models.families import YOLO
from xprune.recovery.norms import sole_norms


class Readers(nn.Module):
    """One convolution for every way of feeding a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        names = (
            "alone",
            "also_read",
            "viewed",
            "twins",
            "shared_a",
            "shared_b",
            "twice",
            "bare",
        )
        for name in names:
            setattr(self, name, nn.Conv2d(3, 3, 1, bias=False))
            setattr(self, f"{name}_norm", nn.BatchNorm2d(3))
        self.twins_norm_too = nn.BatchNorm2d(3)
        self.batch = nn.Conv2d(3, 3, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        total = self.alone_norm(self.alone(x))
        also = self.also_read(x)
        total = total + self.also_read_norm(also) + also
        total = total + self.viewed_norm(self.viewed(x) + 1)
        twins = self.twins(x)
        total = total + self.twins_norm(twins) + self.twins_norm_too(twins)
        total = (
            total + self.shared_a_norm(self.shared_a(x)) + self.shared_a_norm(self.shared_b(x))
        )
        for factor in (1, 2):
            total = total + self.twice_norm(self.twice(x * factor))
        return total + self.bare(x) + self.batch_norm(self.batch(x))


def test_only_a_single_pair_counts():
    """A second reader, a step in between, two norms, two sources, no running mean: none."""
    network = Readers().eval()
    layers = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]

    norms = sole_norms(network, layers, lambda: network(torch.rand(1, 3, 4, 4)))

    assert norms == {"alone": "alone_norm", "twice": "twice_norm"}


def test_every_block_of_the_toy_and_of_a_yolo_is_a_pair():
    """Each convolution without a bias, and its neighbour."""
    for network, run in (
        (toy(), lambda net: net(noise(1))),
        (tiny_yolo(), lambda net: YOLO.head_outputs(net, torch.rand(1, 3, 64, 64))),
    ):
        convolutions = {
            name: module
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d) and ".dfl." not in name
        }

        norms = sole_norms(network, list(convolutions), lambda n=network, r=run: r(n))

        blocks = {name.rpartition(".")[0] for name, c in convolutions.items() if c.bias is None}
        assert {name.rpartition(".")[0] for name in norms} == blocks
        assert {norm.rpartition(".")[0] for norm in norms.values()} == blocks


def test_looking_leaves_no_hooks():
    """Neither on convolutions nor on norms."""
    network = toy()

    sole_norms(network, ["stem.conv", "down.conv"], lambda: network(noise(1)))

    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
