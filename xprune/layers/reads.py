"""Find which module alone reads what another one gives, by watching a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from xprune.layers.hooks import placed


class _Reads(TorchFunctionMode):
    """Counts the operations that read each noted tensor, and follows it through `functions`."""

    def __init__(self, functions: Collection[str]) -> None:
        super().__init__()
        self.functions = functions
        self.sources: dict[str, list[str | None]] = {}
        # The tensors are kept, so that no other one gets the `id` of one that is gone.
        self.noted: dict[int, tuple[str, torch.Tensor]] = {}
        self.count: Counter[str] = Counter()

    def note(self, name: str, tensor: object) -> None:
        if isinstance(tensor, torch.Tensor):
            self.noted[id(tensor)] = (name, tensor)

    def source(self, value: object) -> str | None:
        return self.noted[id(value)][0] if id(value) in self.noted else None

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        function = getattr(func, "__name__", "").rstrip("_")
        followed = function in self.functions and len(args) > 0
        given = self.source(args[0]) if followed else None
        result = func(*args, **(kwargs or {}))
        # A question about the shape or the type is answered by a number, and reads nothing.
        if result is None or any(isinstance(v, torch.Tensor) for v in tree_leaves(result)):
            for value in tree_leaves((args, kwargs)):
                source = self.source(value)
                if source is not None:
                    self.count[source] += 1
        if given is not None:
            # One function serves many layers, as a ReLU of a whole network may: known by both.
            name = f"{function}({given})"
            self.sources.setdefault(name, []).append(given)
            self.note(name, result)
        return result


def sole_sources(
    network: nn.Module,
    givers: Collection[str],
    readers: Collection[str],
    run: Callable[[], object],
    *,
    through: Collection[str] = (),
) -> dict[str, str]:
    """Return for each reader the giver that it alone reads, and that it reads alone.

    Args:
        network: In eval mode.
        givers: Names of modules whose outputs are followed.
        readers: Names of modules of one input.
        run: Runs the network once.
        through: Names of functions of one tensor that are readers and givers, too: what `relu`
            gives of the output of `conv` goes by `relu(conv)`. Without the underscore of
            those that work in place.
    """
    reads = _Reads(through)
    modules = dict(network.named_modules())
    outputs = (
        modules[name].register_forward_hook(
            lambda module, args, output, name=name: reads.note(name, output)
        )
        for name in givers
    )
    inputs = (
        modules[name].register_forward_pre_hook(
            lambda module, args, name=name: reads.sources.setdefault(name, []).append(
                reads.source(args[0]) if args else None
            )
        )
        for name in readers
    )
    with torch.no_grad(), placed(outputs), placed(inputs), reads:
        run()
    return {
        reader: seen[0]
        for reader, seen in reads.sources.items()
        if seen[0] is not None and set(seen) == {seen[0]} and reads.count[seen[0]] == len(seen)
    }
