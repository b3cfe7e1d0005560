"""SSDs with random weights that tell pictures apart.

torchvision's own beginning is made to be trained: in an SSDlite nothing of the picture reaches
the scores, which are then all alike; in an SSD300, whose values are of 0 to 255, all reach 1.
"""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import nn

from xprune.models.families import SSD
from xprune.models.torchvision import ssd

# How strong the inputs of an SSD300 are, where others are about 1.
SSD300_STRENGTH = 128.0


def lively_ssd(name: str, classes: int) -> nn.Module:
    """Return the network, its batch norms fitted to noise and its scores far apart."""
    return copy.deepcopy(_built(name, classes))


@cache
def _built(name: str, classes: int) -> nn.Module:
    network = SSD.build_network({"family": "ssd", "name": name, "nc": classes})
    generator = torch.Generator().manual_seed(7)
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    if name == ssd.SSD300:
        network.backbone.features[0].weight.data /= SSD300_STRENGTH
        return network
    for norm in norms:
        norm.momentum = None  # the mean of all that was seen, which is once
    network.train()
    with torch.no_grad():
        maps = network.backbone(torch.randn(8, 3, 96, 128, generator=generator))
        network.head(list(maps.values()))
    network.eval()
    for path, module in network.head.named_modules():
        if isinstance(module, nn.Conv2d) and module.groups == 1:
            strength = 0.05 if "classification" in path else 0.02
            noise = torch.randn(module.weight.shape, generator=generator)
            module.weight.data += strength * noise
    return network
