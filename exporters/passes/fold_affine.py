"""A scale or a shift of each channel belongs into the convolution before or after it.

Before: always exact. After: a scale is exact, a shift only where no zeros are padded. A
scale by ones and a shift by zeros go away wherever they are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir

from exporters.passes.convolution import (
    Array,
    Convolution,
    bypass,
    channels_of,
    constant_of,
    only_reader,
    read_convolution,
    remove,
    set_weights,
)


@dataclass(frozen=True)
class Affine:
    """A Mul or Add with a constant: y = scale x + shift, for each channel.

    Attributes:
        node: The node itself.
        data: What is scaled or shifted: (batch, channels, rows, columns).
        scale: (channels,), float64.
        shift: (channels,), float64.
    """

    node: ir.Node
    data: ir.Value
    scale: Array
    shift: Array


def read_affine(node: ir.Node | None) -> Affine | None:
    """Return the scale or shift that `node` is, or None if it is something else."""
    if node is None or node.op_type not in ("Mul", "Add") or node.domain:
        return None
    for data, other in (node.inputs, reversed(node.inputs)):
        values = _per_channel(data, constant_of(other))
        if values is None or data is None:
            continue
        if node.op_type == "Mul":
            return Affine(node, data, values, np.zeros_like(values))
        return Affine(node, data, np.ones_like(values), values)
    return None


def find_affine(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first scale or shift that can go away."""
    for node in model.graph:
        affine = read_affine(node)
        if affine is None or node.outputs[0].is_graph_output():
            continue
        if (affine.scale == 1).all() and not affine.shift.any():
            return partial(bypass, model, node, affine.data)
        before = read_convolution(affine.data.producer())
        if before is not None and only_reader(affine.data) is node:
            return partial(_fold_backward, model, affine, before)
        after = read_convolution(only_reader(node.outputs[0]))
        if after is not None and (not after.padded or not affine.shift.any()):
            return partial(_fold_forward, model, affine, after)
    return None


def _fold_backward(model: ir.Model, affine: Affine, before: Convolution) -> None:
    weight = before.weight * affine.scale[:, None, None, None]
    bias = before.bias * affine.scale + affine.shift
    bypass(model, affine.node, affine.data)
    set_weights(model, before.node, weight, bias)


def _fold_forward(model: ir.Model, affine: Affine, after: Convolution) -> None:
    scale, shift = (_as_seen(values, after) for values in (affine.scale, affine.shift))
    weight = after.weight * scale[:, :, None, None]
    bias = after.bias + (after.weight.sum((2, 3)) * shift).sum(1)
    after.node.replace_input_with(0, affine.data)
    remove(model, affine.node)
    set_weights(model, after.node, weight, bias)


def _as_seen(values: Array, convolution: Convolution) -> Array:
    """Return (out, in / groups): the input channels' values that each output channel sees."""
    by_group = values.reshape(convolution.groups, -1)
    return by_group.repeat(convolution.shape[0] // convolution.groups, axis=0)


def _per_channel(data: ir.Value | None, constant: Array | None) -> Array | None:
    """Return a constant as (channels,), or None if it differs from pixel to pixel."""
    channels = channels_of(data)
    if constant is None or channels is None or constant.ndim > 4:
        return None
    full = constant.reshape((1,) * (4 - constant.ndim) + constant.shape)
    if full.shape not in ((1, 1, 1, 1), (1, channels, 1, 1)):
        return None
    return np.broadcast_to(full.reshape(-1), (channels,)).copy()
