"""Sum up what layers see and give while a network runs."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import nn

from xprune.layers.fit import add_samples, new_moments
from xprune.layers.hooks import placed
from xprune.layers.moments import Moments, sampled_outputs


def convolution_moments(
    network: nn.Module, names: Collection[str], run: Callable[[], object]
) -> dict[str, Moments]:
    """Return the moments of convolutions of one group.

    Args:
        network: In eval mode.
        names: Of the convolutions.
        run: Runs the network on all pictures.
    """
    layers = {name: network.get_submodule(name) for name in names}
    moments = {name: new_moments(layer) for name, layer in layers.items()}
    collecting = (
        layer.register_forward_hook(
            lambda module, args, output, name=name: add_samples(
                moments[name], module, args[0], sampled_outputs(output)
            )
        )
        for name, layer in layers.items()
    )
    with placed(collecting):
        run()
    return {name: sums for name, sums in moments.items() if isinstance(sums, Moments)}
