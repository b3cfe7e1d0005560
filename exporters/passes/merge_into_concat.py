"""What reaches a convolution through a Concat is one slice of its weights.

The convolution of Concat(a, b, …) is W_a a + W_b b + … + bias. So a part that is zero, or
that is a linear function of another part, needs no channels of its own: a part that comes
twice (a bypassed bottleneck of a C2f block) or through a 1x1 convolution (one that has its
linear substitute) is merged into the weights of the part that it is made of.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx_ir as ir

from exporters.passes.convolution import (
    Array,
    Convolution,
    channels_of,
    constant_of,
    drop_unread_constant,
    only_reader,
    read_convolution,
    remove,
    set_weights,
)
from exporters.passes.fold_affine import read_affine


@dataclass(frozen=True)
class _Part:
    """One input of the Concat, as a linear function of a value: matrix source + shift.

    Attributes:
        index: Which input of the Concat it is.
        source: What the part is made of; None where the part is zero.
        matrix: (channels of the part, channels of the source), float64.
        shift: (channels of the part,), float64.
        nodes: What computes the part from the source, the last one first.
        target: Which other input of the Concat the source is; None if it is not among them.
    """

    index: int
    source: ir.Value | None
    matrix: Array
    shift: Array
    nodes: tuple[ir.Node, ...] = ()
    target: int | None = None


def find_concat(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first part where the result is exact and not dearer."""
    for node in model.graph:
        reader = _reader_of(node)
        if reader is None or any(channels_of(value) is None for value in node.inputs):
            continue
        for part in _parts(node):
            if part.shift.any() and reader.padded:
                continue
            if part.target is not None or _may_go(part, node, reader):
                return partial(_merge, model, node, reader, part)
    return None


def _reader_of(concat: ir.Node) -> Convolution | None:
    """Return the convolution that alone reads the joined channels, or None."""
    if concat.op_type != "Concat" or concat.domain or concat.attributes.get_int("axis") != 1:
        return None
    reader = read_convolution(only_reader(concat.outputs[0]))
    return reader if reader is not None and reader.groups == 1 else None


def _parts(concat: ir.Node) -> Iterator[_Part]:
    """Give each input in each way that it can be told, from itself back along linear nodes."""
    for index, value in enumerate(concat.inputs):
        width = channels_of(value)
        assert width is not None
        constant = constant_of(value)
        if constant is not None:
            if not constant.any():
                yield _Part(index, None, np.zeros((width, 0)), np.zeros(width))
            continue
        part: _Part | None = _Part(index, value, np.eye(width), np.zeros(width))
        while part is not None:
            yield replace(part, target=_target(concat, part))
            part = _one_step_back(part)


def _one_step_back(part: _Part) -> _Part | None:
    assert part.source is not None
    node = part.source.producer()
    convolution = read_convolution(node)
    affine = read_affine(node)
    if node is None:
        return None
    if convolution is not None and convolution.is_per_pixel:
        matrix, shift = convolution.weight[:, :, 0, 0], convolution.bias
        source = node.inputs[0]
    elif affine is not None:
        matrix, shift, source = np.diag(affine.scale), affine.shift, affine.data
    else:
        return None
    return replace(
        part,
        source=source,
        matrix=part.matrix @ matrix,
        shift=part.matrix @ shift + part.shift,
        nodes=(*part.nodes, node),
    )


def _target(concat: ir.Node, part: _Part) -> int | None:
    for index, value in enumerate(concat.inputs):
        # Of two equal inputs, the later one is merged into the earlier one.
        if value is part.source and index != part.index and (part.nodes or index < part.index):
            return index
    return None


def _may_go(part: _Part, concat: ir.Node, reader: Convolution) -> bool:
    """Whether the Concat may read the source itself: then the nodes go, and it is no dearer."""
    if part.source is None:
        return len(concat.inputs) > 1
    if not part.nodes or any(only_reader(node.outputs[0]) is None for node in part.nodes):
        return False
    width, source_width = part.matrix.shape
    per_channel = reader.shape[0] * reader.shape[2] * reader.shape[3]
    inner_pixels = reader.strides[0] * reader.strides[1]  # for one output pixel
    before = part.matrix.size * inner_pixels + per_channel * width
    return bool(per_channel * source_width <= before)


def _merge(model: ir.Model, concat: ir.Node, reader: Convolution, part: _Part) -> None:
    inputs = list(concat.inputs)
    widths = [channels_of(value) or 0 for value in inputs]
    slices = np.split(reader.weight, np.cumsum(widths)[:-1], axis=1)
    bias = reader.bias + slices[part.index].sum((2, 3)) @ part.shift
    moved = np.einsum("omhw,mi->oihw", slices[part.index], part.matrix)
    if part.target is None and part.source is not None:
        slices[part.index], inputs[part.index] = moved, part.source
    else:
        if part.target is not None:
            slices[part.target] = slices[part.target] + moved
        del slices[part.index], inputs[part.index]
    weight = np.concatenate(slices, axis=1)
    _set_inputs(model, concat, inputs, weight.shape[1])
    for node in part.nodes:
        if node.outputs[0].uses():
            break
        remove(model, node)
    set_weights(model, reader.node, weight, bias)


def _set_inputs(
    model: ir.Model, concat: ir.Node, inputs: "list[ir.Value | None]", channels: int
) -> None:
    """Give the Concat other parts; with one part alone it goes away."""
    old = list(concat.inputs)
    output = concat.outputs[0]
    if len(inputs) == 1:
        assert inputs[0] is not None
        output.replace_all_uses_with(inputs[0])
        model.graph.remove(concat, safe=True)
    else:
        concat.resize_inputs(len(inputs))
        for position, value in enumerate(inputs):
            concat.replace_input_with(position, value)
        if output.shape is not None:
            output.shape = ir.Shape([output.shape[0], channels, *output.shape[2:]])
    for value in old:
        drop_unread_constant(model, value)
