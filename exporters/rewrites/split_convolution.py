"""A convolution whose channels are then split becomes one convolution for each part.

onnxruntime keeps channels in blocks of 16 from convolution to convolution, but has no Split
for that layout: in each C2f block it undoes the blocks, splits, and makes them again. Two
convolutions with a slice of the weights each need none of that, and compute the same numbers.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import onnx_ir as ir

from exporters.passes.convolution import Convolution, read_convolution
from exporters.rewrites.edit import (
    Editor,
    array_of,
    is_plain,
    path_of,
    remove_unread,
    replace_output,
    silu_input,
    static_shape,
)

_BLOCK = 16  # channels that onnxruntime computes at once; a part of a block costs a whole one


def find_split(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first Split of a convolution's channels, or None."""
    for node in model.graph:
        if not is_plain(node, "Split") or node.attributes.get_int("axis", 0) != 1:
            continue
        whole = node.inputs[0]
        widths = _widths(node)
        if whole is None or widths is None or len(whole.uses()) != 1:
            continue
        before = silu_input(whole)
        direct = before is None
        source = whole if before is None else before
        convolution = read_convolution(source.producer())
        if convolution is None or convolution.groups != 1 or whole.is_graph_output():
            continue
        if sum(widths) != convolution.shape[0] or not _is_no_dearer(widths):
            continue
        return partial(_split, model, node, convolution, direct=direct)
    return None


def _widths(split: ir.Node) -> list[int] | None:
    """Return the channels of each part, or None where a shape is not (1, channels, h, w)."""
    shapes = [static_shape(part) for part in split.outputs]
    if any(shape is None or len(shape) != 4 for shape in shapes):
        return None
    if len(split.inputs) > 1 and split.inputs[1] is not None:
        sizes = array_of(split.inputs[1])
        if sizes is None or [shape[1] for shape in shapes if shape] != sizes.tolist():
            return None
    return [shape[1] for shape in shapes if shape]


def _is_no_dearer(widths: list[int]) -> bool:
    blocks = [-(-width // _BLOCK) for width in widths]
    return sum(blocks) <= -(-sum(widths) // _BLOCK)


def _split(model: ir.Model, split: ir.Node, convolution: Convolution, *, direct: bool) -> None:
    whole = split.inputs[0]
    last = None if whole is None else whole.producer()
    assert last is not None
    edit = Editor(model, split, path_of(convolution.node))
    activation = Editor(model, split, path_of(last))
    start = 0
    for part in split.outputs:
        shape = static_shape(part)
        assert shape is not None
        rows = slice(start, start + shape[1])
        start = rows.stop
        if not part.uses() and not part.is_graph_output():
            continue
        value = edit.node(
            "Conv",
            [
                convolution.node.inputs[0],
                edit.constant("weight", convolution.weight[rows]),
                edit.constant("bias", convolution.bias[rows]),
            ],
            shape,
            **_attributes(convolution),
        )
        if not direct:
            gate = activation.node("Sigmoid", [value], shape)
            value = activation.node("Mul", [value, gate], shape)
        replace_output(model, part, value)
    remove_unread(model, split)


def _attributes(convolution: Convolution) -> dict[str, Any]:
    """Return the attributes of the old node, which hold for a slice of its weights as well."""
    return {name: value.value for name, value in convolution.node.attributes.items()}
