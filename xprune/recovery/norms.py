"""Find the batch normalisation that a convolution feeds, where it feeds nothing else.

Only then can the normalisation's mean hold the shift that a convolution without a bias lacks: a
second reader of the output would see it unshifted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xprune.layers.hooks import placed


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that read each noted tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # The tensors are kept, so that no other one gets the `id` of one that is gone.
        self.noted: dict[int, tuple[str, torch.Tensor]] = {}
        self.count: Counter[str] = Counter()

    def note(self, name: str, tensor: torch.Tensor) -> None:
        self.noted[id(tensor)] = (name, tensor)

    def source(self, tensor: torch.Tensor) -> str | None:
        return self.noted[id(tensor)][0] if id(tensor) in self.noted else None

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        for value in tree_leaves((args, kwargs)):
            if isinstance(value, torch.Tensor) and id(value) in self.noted:
                self.count[self.noted[id(value)][0]] += 1
        return func(*args, **(kwargs or {}))


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
