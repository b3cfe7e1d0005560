"""Gates: one number for each layer that says how much of it is left.

With z in [0, 1] and r what will stand in the layer's place, a gate makes the layer's output
r(x) + z (f(x) - r(x)). At z = 1 the network is as it is, and the gradient of the loss with
respect to z is the sum of g (f(x) - r(x)) over the output's elements, where g is the loss's
gradient at the output. One backward pass therefore serves all layers and all substitutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from xprune.layers.hooks import placed
from xprune.layers.substitutes import REMOVED

CHEAP = frozenset({"zero", *REMOVED})

Substitutes = Mapping[str, Mapping[str, nn.Module]]  # layer, name of substitute: module

# Moments are taken of a few pictures at a time: products of this size (1 MiB of floats) stay in
# the cache, and a second copy of a whole batch's map is never needed.
CHUNK_ELEMENTS = 1 << 18
# A richer substitute costs nearly as much as its layer, and there are several for each: they
# are scored on every second picture, the others on all. A mean over few squares ranks badly, so
# not on fewer.
RICH_EVERY = 2


@dataclass
class GateMoments:
    """What backward passes say of one layer, one value for each picture.

    Attributes:
        elements: Elements of the layer's output for one picture, over all its calls.
        activation_abs: Σ|g · y| over the elements, y the output, g the loss's gradient there.
        removal_abs: For each substitute r, Σ|g · (y - r)|; of a richer one for some pictures.
        removal_sum: For each substitute r, Σ g · (y - r), the gradient of the gate.
    """

    elements: int = 0
    activation_abs: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    removal_abs: dict[str, torch.Tensor] = field(default_factory=dict)
    removal_sum: dict[str, torch.Tensor] = field(default_factory=dict)

    def extend(self, batch: GateMoments) -> None:
        """Append the pictures of one more batch."""
        # A batch whose loss does not look at the layer does not tell its size.
        self.elements = max(self.elements, batch.elements)
        self.activation_abs = torch.cat([self.activation_abs, batch.activation_abs])
        for name in batch.removal_abs:
            empty = torch.zeros(0)
            self.removal_abs[name] = torch.cat(
                [self.removal_abs.get(name, empty), batch.removal_abs[name]]
            )
            self.removal_sum[name] = torch.cat(
                [self.removal_sum.get(name, empty), batch.removal_sum[name]]
            )


class Recorded(dict[str, GateMoments]):
    """The moments of each layer.

    Attributes:
        pictures: How many the network was run on, to be told before the backward pass where a
            layer has several rows for each: in the head of a two-stage detector, one a region.
    """

    pictures: int | None = None


@contextmanager
def recorded_gates(
    network: nn.Module, substitutes: Substitutes, first: int = 0
) -> Iterator[Recorded]:
    """Record the moments of every layer in `substitutes` during one forward and backward pass.

    Nothing is kept that autograd would not keep anyway, and no weight needs a gradient.

    Args:
        network: In eval mode, without in-place activations.
        substitutes: For each layer the substitutes to score it against, already fitted.
        first: Number of the first picture among all that are scored.
    """
    found = Recorded()
    rungs = {name: _Rungs(choices, found, first) for name, choices in substitutes.items()}

    def watch(name: str, x: torch.Tensor, y: torch.Tensor) -> None:
        if not y.requires_grad:
            # The first layers: nothing before them needs a gradient, so the graph starts here.
            y.requires_grad_()
        # The graph keeps its hooks longer than its maps: the hook gives these away when called.
        maps = [(x.detach(), y.detach())]
        y.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: _add_call(
                found.setdefault(name, GateMoments()), rungs[name], gradient, *maps.pop()
            )
        )

    watching = (
        network.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: watch(name, args[0], output)
        )
        for name in substitutes
    )
    with placed(watching):
        yield found


@contextmanager
def closed_gates(network: nn.Module, closed: Mapping[str, nn.Module]) -> Iterator[None]:
    """Close gates: inside the block each named layer's output is its substitute's."""
    closing = (
        network.get_submodule(name).register_forward_hook(
            lambda module, args, output, substitute=substitute: substitute(args[0])
        )
        for name, substitute in closed.items()
    )
    with placed(closing):
        yield


@dataclass(frozen=True)
class _Rungs:
    """The substitutes of one layer, and which pictures of a batch each is scored on."""

    modules: Mapping[str, nn.Module]
    found: Recorded
    first: int

    def pictures(self, name: str, start: int, stop: int) -> slice:
        """Return which of the batch's pictures from `start` to `stop`, counted from there."""
        if name in CHEAP:
            return slice(0, stop - start)
        return slice(-(self.first + start) % RICH_EVERY, stop - start, RICH_EVERY)


def _add_call(
    seen: GateMoments,
    rungs: _Rungs,
    gradient: torch.Tensor,
    x: torch.Tensor,
    output: torch.Tensor,
) -> None:
    """Add one call of a layer to its moments; a layer may be called several times."""
    call = GateMoments()
    count = rungs.found.pictures or len(output)
    rows = len(output) // count
    some = max(1, CHUNK_ELEMENTS // (output[0].numel() * rows))
    with torch.no_grad():
        for start in range(0, count, some):
            part = slice(start * rows, (start + some) * rows)
            maps = (gradient[part], x[part], output[part])
            call.extend(_part_of_call(rungs, start, rows, *maps))
    seen.elements += call.elements
    if len(seen.activation_abs) == 0:
        seen.activation_abs = torch.zeros_like(call.activation_abs)
    seen.activation_abs = seen.activation_abs + call.activation_abs
    for substitute in rungs.modules:
        for sums, more in (
            (seen.removal_abs, call.removal_abs),
            (seen.removal_sum, call.removal_sum),
        ):
            sums[substitute] = (
                sums[substitute] + more[substitute] if substitute in sums else more[substitute]
            )


def _part_of_call(
    rungs: _Rungs,
    start: int,
    rows: int,
    gradient: torch.Tensor,
    x: torch.Tensor,
    output: torch.Tensor,
) -> GateMoments:
    """Return the moments of some of the pictures of one call, the batch's from `start` on."""
    count = len(output) // rows
    of_output = _by_picture(gradient * output, rows)
    part = GateMoments(elements=of_output[0].numel(), activation_abs=_absolute_sum(of_output))
    for substitute, module in rungs.modules.items():
        if substitute == "zero":
            product = of_output
        else:
            some = rungs.pictures(substitute, start, start + count)
            if some.start >= count:
                product = of_output[:0]
            else:
                product = _of_substitute(module, rows, some, gradient, x, output)
        part.removal_abs[substitute] = _absolute_sum(product)
        part.removal_sum[substitute] = product.flatten(1).sum(dim=1)
    return part


def _of_substitute(
    module: nn.Module,
    rows: int,
    some: slice,
    gradient: torch.Tensor,
    x: torch.Tensor,
    output: torch.Tensor,
) -> torch.Tensor:
    """Return g · (y - r) of some pictures, (pictures, rows, C, H, W)."""
    g, inputs, y = (
        _by_picture(whole, rows)[some].flatten(0, 1) for whole in (gradient, x, output)
    )
    return _by_picture(torch.sub(y, module(inputs)).mul_(g), rows)


def _by_picture(whole: torch.Tensor, rows: int) -> torch.Tensor:
    """Return (pictures * rows, …) as (pictures, rows, …)."""
    return whole.reshape(-1, rows, *whole.shape[1:])


def _absolute_sum(product: torch.Tensor) -> torch.Tensor:
    """Return Σ|…| for each picture without a second copy of the map."""
    total: torch.Tensor = torch.linalg.vector_norm(product.flatten(1), ord=1, dim=1)
    return total
