"""Run what a pruned network still has in common with the unpruned one only once.

What comes before the first cut computes the same in both, so the unpruned network, which runs
first, leaves what its parts gave, and the pruned one takes it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Given = dict[str, Tensor]

# Names of what is kept.
IMAGES, PART = "images", "part:"
# Of an output's length: what sharing may change, in 16 bits.
SAME = 0.02


def frozen_parts(network: nn.Module, frozen: Set[str]) -> tuple[str, ...]:
    """Return the largest modules of which every parameter is frozen, by name.

    Args:
        network: Any.
        frozen: Names of its parameters.
    """
    parts: list[str] = []

    def look(module: nn.Module, name: str) -> None:
        weights = {f"{name}.{weight}" for weight, _ in module.named_parameters()}
        # A list of modules is no function: what runs is its members.
        runs = name and not isinstance(module, nn.ModuleList | nn.ModuleDict)
        if runs and weights and weights <= frozen:
            parts.append(name)
            return
        for child, below in module.named_children():
            look(below, f"{name}.{child}" if name else child)

    look(network, "")
    return tuple(parts)


@contextmanager
def kept(network: nn.Module, parts: tuple[str, ...], pictures: int) -> Iterator[Given]:
    """Yield what parts of a network give while it runs on some pictures, by name.

    What runs twice, or gives anything but one tensor with a row a picture, is left out.
    """
    given: Given = {}
    seen: set[str] = set()

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            if name in seen or not isinstance(output, Tensor) or len(output) != pictures:
                given.pop(name, None)
            else:
                given[name] = output
            seen.add(name)

        return hook

    handles = [network.get_submodule(n).register_forward_hook(keep(n)) for n in parts]
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def answering(network: nn.Module, given: Given) -> Iterator[None]:
    """Let parts of a network answer at once with what was given, whatever they are asked."""

    def answer(output: Tensor) -> Any:
        return lambda *inputs: output

    modules = {name: network.get_submodule(name) for name in given}
    for name, module in modules.items():
        # On the instance, where it hides the class's.
        module.__dict__["forward"] = answer(given[name])
    try:
        yield
    finally:
        for module in modules.values():
            module.__dict__.pop("forward", None)


@dataclass(frozen=True)
class Beginning:
    """What two networks begin with, by what the rest of the pruned one needs of it.

    Attributes:
        parts: Modules that compute the same in both, by name.
        read: Those of them whose answers the rest reads.
        shapes: What the answers of the others look like, but for the batch.
        image: The shape of an image, if nothing but these parts looks at it; else None.
    """

    parts: tuple[str, ...] = ()
    read: frozenset[str] = frozenset()
    shapes: Mapping[str, torch.Size] = field(default_factory=dict)
    image: torch.Size | None = None

    def to_keep(self, images: Tensor, given: Given) -> Given:
        """Return what has to be known of images to run only the rest."""
        needed = {f"{PART}{name}": given[name] for name in sorted(self.read)}
        return needed if self.image else {IMAGES: images, **needed}

    def answers(self, known: Given) -> Given:
        """Return what the parts answer, from what was kept."""
        return {
            name: known[f"{PART}{name}"]
            if name in self.read
            else _nothing(known, self.shapes[name])
            for name in self.parts
        }

    def images(self, known: Given) -> Tensor:
        """Return the images, or what has their shape where nothing looks at them."""
        return _nothing(known, self.image) if self.image else known[IMAGES]


def common_beginning(
    network: nn.Module,
    original: nn.Module,
    frozen: Set[str],
    images: Tensor,
    *,
    run: Callable[[nn.Module, Tensor], Mapping[str, Any]],
) -> Beginning:
    """Return what a pruned network has in common with its original, if that is really so.

    Args:
        network: Pruned.
        original: What it was made from, on the same device.
        frozen: Parameters that both share, since they come before the first cut.
        images: Some inputs (B, 3, H, W), to try it on.
        run: Runs a network; tensors among what comes out are compared.
    """
    with torch.no_grad():
        with kept(original, frozen_parts(network, frozen), len(images)) as given:
            run(original, images)
        alone = _tensors(run(network, images))
    leaves = {name: value.detach().requires_grad_() for name, value in given.items()}
    start = images.detach().requires_grad_()
    with torch.enable_grad():
        # What is a leaf may not be changed in place, and some activations do that.
        with answering(network, {name: leaf * 1 for name, leaf in leaves.items()}):
            shared = _tensors(run(network, start * 1))
        total = torch.stack([output.sum() for output in shared]).sum()
        found = torch.autograd.grad(total, [start, *leaves.values()], allow_unused=True)
    if any((a - b).norm() > SAME * b.norm() for a, b in zip(shared, alone, strict=True)):
        return Beginning()
    used = dict(zip([IMAGES, *leaves], (one is not None for one in found), strict=True))
    return Beginning(
        tuple(given),
        frozenset(name for name in given if used[name]),
        {name: value.shape[1:] for name, value in given.items()},
        None if used[IMAGES] else images.shape[1:],
    )


def _tensors(outputs: Mapping[str, Any]) -> list[Tensor]:
    return [value for value in outputs.values() if isinstance(value, Tensor)]


def _nothing(known: Given, shape: torch.Size) -> Tensor:
    """Return zeros (B, *shape) that take no memory."""
    like = next(iter(known.values()))
    return torch.zeros((), device=like.device).expand(len(like), *shape)
