"""The gradient criteria as they are defined: one layer, one picture, one call at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Maps one picture (1, 3, H, W) and its number to its loss.
Loss = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Call:
    """One call of a layer on one picture: input, output, and the loss's gradient there."""

    x: Tensor
    y: Tensor
    g: Tensor


def calls(network: nn.Module, layer: str, images: Tensor, loss: Loss) -> list[list[Call]]:
    """Return the calls of a layer, by picture."""
    result = []
    for number in range(len(images)):
        seen: list[tuple[Tensor, Tensor]] = []
        handle = network.get_submodule(layer).register_forward_hook(
            lambda module, args, output, seen=seen: seen.append((args[0], output))
        )
        image = images[number : number + 1].clone().requires_grad_()
        value = loss(image, number)
        handle.remove()
        gradients = torch.autograd.grad(value, [y for _, y in seen], allow_unused=True)
        result.append(
            [
                Call(x.detach(), y.detach(), torch.zeros_like(y) if g is None else g)
                for (x, y), g in zip(seen, gradients, strict=True)
            ]
        )
    return result


def grad_act(pictures: Sequence[Sequence[Call]]) -> list[float]:
    """Σ|g · y| of every picture."""
    return [sum(float((c.g * c.y).abs().sum()) for c in one) for one in pictures]


def grad_act_mean(pictures: Sequence[Sequence[Call]]) -> list[float]:
    """The same for each element of the output."""
    return [
        total / sum(c.y.numel() for c in one)
        for total, one in zip(grad_act(pictures), pictures, strict=True)
    ]


def removal(pictures: Sequence[Sequence[Call]], substitute: nn.Module) -> list[float]:
    """Σ|g · (y - r)| of every picture."""
    return [
        sum(float((c.g * (c.y - substitute(c.x))).abs().sum()) for c in one) for one in pictures
    ]


def removal_signed(pictures: Sequence[Sequence[Call]], substitute: nn.Module) -> list[float]:
    """Σ g · (r - y) of every picture."""
    return [sum(float((c.g * (substitute(c.x) - c.y)).sum()) for c in one) for one in pictures]


def fisher(pictures: Sequence[Sequence[Call]], substitute: nn.Module) -> list[float]:
    """(Σ g · (y - r))² of every picture."""
    return [value**2 for value in removal_signed(pictures, substitute)]


ACTIVATION: Mapping[str, Callable[..., list[float]]] = {
    "grad_act": grad_act,
    "grad_act_mean": grad_act_mean,
}
REMOVAL: Mapping[str, Callable[..., list[float]]] = {
    "removal": removal,
    "removal_signed": removal_signed,
    "fisher": fisher,
}
