"""Choose the channels of the thinner copies in a cut network, before its layers are solved.

The choice looks at the unpruned network alone. The weights that come with it are where the walk
of a refit starts from: it solves them again, from what the cut network gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from xprune.layers.chains import Chain, find_chains
from xprune.layers.gather import convolution_moments
from xprune.layers.substitutes.thin import Elimination, thin_out

Run = Callable[[nn.Module, torch.Tensor], object]


def thin_layers(
    original: nn.Module, cut: nn.Module, images: torch.Tensor, *, run: Run, batch: int
) -> dict[str, torch.Tensor]:
    """Give every thinner copy in `cut` the channels and weights of `original` that suit best.

    Args:
        original: The unpruned network, in eval mode.
        cut: The network after `apply_plan`.
        images: All pictures at once, (P, 3, H, W).
        run: Runs a network on pictures.
        batch: Pictures to run at once.

    Returns:
        For each convolution that gives fewer channels than it did, those that are kept.
    """
    chains = _thinner_chains(original, cut, lambda: run(original, images[:1]))
    if not chains:
        return {}

    def run_all() -> None:
        for start in range(0, len(images), batch):
            run(original, images[start : start + batch])

    moments = convolution_moments(original, [chain.reader for chain in chains], run_all)
    readers = {name: original.get_submodule(name) for name in moments}
    eliminations = [
        Elimination(moments[name], reader)
        for name, reader in readers.items()
        if isinstance(reader, nn.Conv2d)
    ]
    kept, _ = thin_out(cut, original, chains, eliminations)
    return {
        name: channels
        for chain, channels in zip(chains, kept, strict=True)
        for name in (chain.source, *chain.depthwise)
    }


def _thinner_chains(
    original: nn.Module, cut: nn.Module, run: Callable[[], object]
) -> list[Chain]:
    """Return the chains of the original that are thinner in the cut network, and how thin."""
    left = dict(cut.named_modules())
    fewer = {
        name: left[name].out_channels
        for name, module in original.named_modules()
        if isinstance(module, nn.Conv2d)
        and isinstance(left.get(name), nn.Conv2d)
        and left[name].out_channels < module.out_channels
    }
    if not fewer:
        return []
    return [
        replace(chain, channels=int(fewer[chain.source]))
        for chain in find_chains(original, run)
        if chain.source in fewer
    ]
