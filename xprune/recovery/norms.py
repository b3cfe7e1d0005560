"""Find the batch normalisation that a convolution feeds, where it feeds nothing else.

Only then can the normalisation's mean hold the shift that a convolution without a bias lacks: a
second reader of the output would see it unshifted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from xprune.layers.hooks import placed


class _Reads(TorchFunctionMode):
    """Counts the operations that read each noted tensor."""

    def __init__(self) -> None:
        super().__init__()
        # The tensors are kept, so that no other one gets the `id` of one that is gone.
        self.noted: dict[int, tuple[str, torch.Tensor]] = {}
        self.count: Counter[str] = Counter()

    def note(self, name: str, tensor: torch.Tensor) -> None:
        self.noted[id(tensor)] = (name, tensor)

    def source(self, value: object) -> str | None:
        return self.noted[id(value)][0] if id(value) in self.noted else None

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        # A question about the shape or the type is answered by a number, and reads nothing.
        if result is None or any(isinstance(v, torch.Tensor) for v in tree_leaves(result)):
            for value in tree_leaves((args, kwargs)):
                source = self.source(value)
                if source is not None:
                    self.count[source] += 1
        return result


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
    reads = _Reads()
    sources: dict[str, list[str | None]] = {}
    outputs = (
        network.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: reads.note(name, output)
        )
        for name in layers
    )
    inputs = (
        module.register_forward_pre_hook(
            lambda module, args, name=name: sources.setdefault(name, []).append(
                reads.source(args[0])
            )
        )
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None
    )
    with torch.no_grad(), placed(outputs), placed(inputs), reads:
        run()
    return {
        seen[0]: norm
        for norm, seen in sources.items()
        if seen[0] is not None and set(seen) == {seen[0]} and reads.count[seen[0]] == len(seen)
    }
