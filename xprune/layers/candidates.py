"""Find the layers that could be pruned, by running the network once and looking at shapes.

A candidate is a submodule with weights that takes one feature map and returns one, or an
activation. The same
shape in and out can be bypassed; other channels or an integer stride can still be replaced by
something cheaper. No architecture is listed anywhere, so one that nobody has seen works too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from xprune.layers.activations import ACTIVATIONS
from xprune.layers.chains import Chain, find_chains, inside
from xprune.layers.hooks import placed

Shape = tuple[int, int, int]

# Export folds a batch normalisation into its convolution, and the others cost next to nothing:
# removing one alone wins no time.
NORMALISATIONS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)


# What a convolution that stands in for a block sees.
BLOCK_KERNEL = (3, 3)


@dataclass(frozen=True)
class Candidate:
    """One layer that could go.

    Attributes:
        name: The module's path in the network, as `named_modules` gives it.
        type: The class of the module.
        parent: The smallest candidate that contains it, or None.
        input_shapes: (channels, height, width) of the input, one entry per call.
        output_shapes: The same of the output.
        parameters: Number of weights, those of its children included.
        macs: Multiply-adds for one picture, over all calls.
        convolution: Whether it is a plain convolution, what the paper's rule counts.
        convolutions: How many convolutions run in it, itself included.
        kernel: Odd rows and columns that hold what an output pixel of a plain convolution
            sees; 3x3 for a block.
        before_padding: Whether a convolution that puts zeros around its input reads the output.
        activation: Whether it is an activation: no weights, each element by itself.
        chains: Channels inside that only the next convolution reads; names relative to it.
        chain_macs: Multiply-adds of each convolution that the chains name.
        widths: For a level of thinness, the channels that each chain keeps; those that are not
            here keep the same share of each.
        maps: How many maps a call gets for one picture: in a second stage, one for each region.
    """

    name: str
    type: str
    parent: str | None
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]
    parameters: int
    macs: int
    convolution: bool
    convolutions: int = 0
    kernel: tuple[int, int] = BLOCK_KERNEL
    before_padding: bool = False
    activation: bool = False
    chains: tuple[Chain, ...] = ()
    chain_macs: Mapping[str, int] = field(default_factory=dict)
    widths: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    maps: int = 1

    @property
    def keeps_shape(self) -> bool:
        """Whether every call returns the shape that it was given."""
        return self.input_shapes == self.output_shapes

    @property
    def stride(self) -> tuple[int, int]:
        """Input pixels for one output pixel, vertically and horizontally."""
        _, in_height, in_width = self.input_shapes[0]
        _, out_height, out_width = self.output_shapes[0]
        return -(-in_height // out_height), -(-in_width // out_width)


@dataclass
class _Calls:
    """What one module was seen doing during the run."""

    order: int
    inputs: list[Shape] = field(default_factory=list)
    outputs: list[Shape] = field(default_factory=list)
    one_to_one: bool = True
    macs: int = 0
    maps: int = 1


def find_candidates(network: nn.Module, run: Callable[[], object]) -> tuple[Candidate, ...]:
    """Return the candidates of `network` in the order in which they start to run.

    Args:
        network: The network, in eval mode.
        run: Runs the network once, on a batch of one picture, as attribution will run it.
    """
    modules = {name: module for name, module in network.named_modules() if name}
    with torch.no_grad(), _recorded_calls(modules) as calls:
        run()
    names = [
        name
        for name in sorted(calls, key=lambda name: calls[name].order)
        if _can_be_replaced(modules[name], calls[name])
    ]
    found = set(names)
    chains = find_chains(network, run)
    inner = {name: inside(chains, name) for name in names}
    padded = _before_padding(modules, run)
    return tuple(
        Candidate(
            name=name,
            type=type(modules[name]).__name__,
            parent=nearest_ancestor(name, found),
            input_shapes=tuple(calls[name].inputs),
            output_shapes=tuple(calls[name].outputs),
            parameters=sum(weight.numel() for weight in modules[name].parameters()),
            macs=sum(call.macs for inner, call in calls.items() if _is_inside(inner, name)),
            convolution=isinstance(modules[name], nn.Conv2d),
            convolutions=sum(
                isinstance(modules[inner], nn.Conv2d) and _is_inside(inner, name)
                for inner in calls
            ),
            kernel=odd_kernel(modules[name]),
            before_padding=name in padded,
            activation=isinstance(modules[name], ACTIVATIONS),
            chains=inner[name],
            chain_macs={
                end: calls[f"{name}.{end}"].macs
                for chain in inner[name]
                for end in chain.convolutions
            },
            maps=calls[name].maps,
        )
        for name in names
    )


def nearest_ancestor(name: str, found: Collection[str]) -> str | None:
    """Return the smallest module of `found` that contains the module `name`, by their paths."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        ancestor = ".".join(parts[:length])
        if ancestor in found:
            return ancestor
    return None


def nested(layer: str, other: str) -> bool:
    """Whether two layers, by name, are the same or one contains the other."""
    return layer == other or layer.startswith(f"{other}.") or other.startswith(f"{layer}.")


def count_macs(network: nn.Module, run: Callable[[], object]) -> int:
    """Return the multiply-adds of convolutions and linear layers in a `run` of batch one."""
    modules = {name: module for name, module in network.named_modules() if name}
    with torch.no_grad(), _recorded_calls(modules) as calls:
        run()
    return sum(call.macs for call in calls.values())


def _before_padding(modules: Mapping[str, nn.Module], run: Callable[[], object]) -> set[str]:
    """Return the modules whose very output a convolution with zeros around its input reads."""
    # The tensors are kept, so that no other one gets the `id` of one that is gone.
    given: dict[int, tuple[object, list[str]]] = {}
    found: set[str] = set()

    def note(name: str, output: object) -> None:
        given.setdefault(id(output), (output, []))[1].append(name)

    def look(args: tuple[object, ...]) -> None:
        if args and id(args[0]) in given:
            found.update(given[id(args[0])][1])

    outputs = [
        module.register_forward_hook(lambda module, args, out, name=name: note(name, out))
        for name, module in modules.items()
    ]
    inputs = [
        module.register_forward_pre_hook(lambda module, args: look(args))
        for module in modules.values()
        if isinstance(module, nn.Conv2d) and module.padding not in ((0, 0), "valid")
    ]
    with torch.no_grad(), placed([*outputs, *inputs]):
        run()
    return found


@contextmanager
def _recorded_calls(modules: dict[str, nn.Module]) -> Iterator[dict[str, _Calls]]:
    calls: dict[str, _Calls] = {}
    started: list[str] = []

    def note_start(name: str) -> None:
        if name not in calls:
            calls[name] = _Calls(order=len(started))
            started.append(name)

    def note_end(
        name: str, module: nn.Module, args: tuple[object, ...], named: object, output: object
    ) -> None:
        seen = calls[name]
        seen.macs += _macs(module, args, output)
        if not named and len(args) == 1 and _are_feature_maps(args[0], output):
            seen.inputs.append(_shape(args[0]))
            seen.maps = _maps(args[0])
            seen.outputs.append(_shape(output))
        else:
            seen.one_to_one = False

    handles = []
    for name, module in modules.items():
        handles.append(module.register_forward_pre_hook(lambda *_, name=name: note_start(name)))
        handles.append(
            module.register_forward_hook(
                lambda module, args, named, output, name=name: note_end(
                    name, module, args, named, output
                ),
                with_kwargs=True,
            )
        )
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _can_be_replaced(module: nn.Module, calls: _Calls) -> bool:
    has_weights = any(True for _ in module.parameters())
    if isinstance(module, NORMALISATIONS) or not calls.one_to_one:
        return False
    if not has_weights and not isinstance(module, ACTIVATIONS):
        return False
    # One substitute serves all calls, so they must agree on the channels and the stride.
    channels = {
        (in_shape[0], out_shape[0])
        for in_shape, out_shape in zip(calls.inputs, calls.outputs, strict=True)
    }
    strides = {
        (-(-in_height // out_height), -(-in_width // out_width))
        for (_, in_height, in_width), (_, out_height, out_width) in zip(
            calls.inputs, calls.outputs, strict=True
        )
    }
    fits = all(
        in_shape[1] >= out_shape[1] and in_shape[2] >= out_shape[2]
        for in_shape, out_shape in zip(calls.inputs, calls.outputs, strict=True)
    )
    alike = len(channels) == 1 and len(strides) == 1
    return alike and fits and _reaches(calls, next(iter(strides)))


def _reaches(calls: _Calls, stride: tuple[int, int]) -> bool:
    """Whether pooling by `stride`, the last window cut short, gives the output's size."""
    return all(
        (-(-in_shape[1] // stride[0]), -(-in_shape[2] // stride[1])) == out_shape[1:]
        for in_shape, out_shape in zip(calls.inputs, calls.outputs, strict=True)
    )


def _are_feature_maps(x: object, y: object) -> bool:
    """Whether both are (B, C, H, W), of the same pictures."""
    if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor):
        return False
    return x.ndim == y.ndim == 4 and len(x) == len(y)


def _shape(value: object) -> Shape:
    assert isinstance(value, torch.Tensor)
    _, channels, height, width = value.shape
    return int(channels), int(height), int(width)


def _maps(value: object) -> int:
    assert isinstance(value, torch.Tensor)
    return len(value)


def _macs(module: nn.Module, args: tuple[object, ...], output: object) -> int:
    # Each output element of a convolution or a linear layer is a sum over one row of weights;
    # of a transposed convolution, each input element is spread by one.
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        elements = args[0]
    elif isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
        elements = output
    else:
        return 0
    assert isinstance(elements, torch.Tensor)
    # Of one picture, which has a row for each region in the head of a two-stage detector.
    return elements.numel() * module.weight[0].numel()


def odd_kernel(module: nn.Module) -> tuple[int, int]:
    """Return odd rows and columns that hold what an output pixel sees; 3x3 for a block."""
    if not isinstance(module, nn.Conv2d):
        return BLOCK_KERNEL
    rows, columns = (
        dilation * (size - 1) + 1
        for size, dilation in zip(module.kernel_size, module.dilation, strict=True)
    )
    return rows + 1 - rows % 2, columns + 1 - columns % 2


def _is_inside(name: str, ancestor: str) -> bool:
    return name == ancestor or name.startswith(f"{ancestor}.")
