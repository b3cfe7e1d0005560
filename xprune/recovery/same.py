"""Tell which part of a pruned network is still what it was."""

from __future__ import annotations

import torch
from torch import nn


def leading_same(network: nn.Module, original: nn.Module) -> frozenset[str]:
    """Return the parameters that come before the first change.

    What runs before the first cut sees what it always saw, and gives what it always gave.

    Args:
        network: Pruned, its layers named in the order in which they run.
        original: What it was made from.

    Returns:
        Names of parameters; none if nothing was changed at all.
    """
    if is_same(network, original):
        return frozenset()
    before = original.state_dict()
    weights = {name for name, _ in network.named_parameters()}
    same: set[str] = set()
    for name, value in network.state_dict().items():
        old = before.get(name)
        if old is None or old.shape != value.shape or not torch.equal(old.to(value), value):
            return frozenset(same)
        if name in weights:
            same.add(name)
    return frozenset(same)


def untouched(network: nn.Module, original: nn.Module) -> frozenset[str]:
    """Return the parameters that stood in the original under the same name and shape.

    What was trained on many pictures is not trained again on few: layers that nobody replaced
    lose accuracy by it, above all on rare classes.

    Args:
        network: Pruned.
        original: What it was made from.

    Returns:
        Names of parameters; none if nothing else is there.
    """
    shapes = {name: weight.shape for name, weight in original.named_parameters()}
    weights = dict(network.named_parameters())
    same = {name for name, weight in weights.items() if shapes.get(name) == weight.shape}
    return frozenset(same) if len(same) < len(weights) else frozenset()


def is_same(network: nn.Module, original: nn.Module) -> bool:
    """Tell whether a network holds what another one does, to the last bit."""
    values, others = network.state_dict(), original.state_dict()
    return values.keys() == others.keys() and all(
        value.shape == others[name].shape and torch.equal(others[name].to(value), value)
        for name, value in values.items()
    )
