"""Layers that weigh nothing and stay: what zeroing alone does to a network.

Zeroing is what some pruning methods stop at; a graph with zeros in it takes as long.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn


def zeroed(network: nn.Module, layers: Iterable[str]) -> nn.Module:
    """Return a copy of a network in which all convolutions in `layers` weigh nothing."""
    changed = copy.deepcopy(network)
    with torch.no_grad():
        for layer in layers:
            for module in changed.get_submodule(layer).modules():
                if isinstance(module, nn.Conv2d):
                    module.weight.zero_()
                    if module.bias is not None:
                        module.bias.zero_()
    return changed
