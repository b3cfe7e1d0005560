"""Find the batch normalisation that a convolution feeds, where it feeds nothing else.

Only then can the normalisation's mean hold the shift that a convolution without a bias lacks: a
second reader of the output would see it unshifted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from xprune.layers.reads import sole_sources


def sole_norms(
    network: nn.Module, layers: Sequence[str], run: Callable[[], object]
) -> dict[str, str]:
    """Return the normalisation of each layer that feeds this one and nothing else.

    A normalisation that also reads from elsewhere does not count.

    Args:
        network: In eval mode.
        layers: Names of convolutions.
        run: Runs the network once.
    """
    norms = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None
    ]
    return {layer: norm for norm, layer in sole_sources(network, layers, norms, run).items()}
