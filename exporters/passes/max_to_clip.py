"""A maximum with one number is a clip, which runtimes fuse with the convolution before it."""

from collections.abc import Callable
from functools import partial

import onnx_ir as ir

from exporters.passes.convolution import constant_of


def find_max(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first maximum of a value and one number."""
    for node in model.graph:
        if node.op_type != "Max" or node.domain or len(node.inputs) != 2:
            continue
        for data, other in (node.inputs, reversed(node.inputs)):
            constant = constant_of(other)
            if constant is None or constant.ndim or constant_of(data) is not None:
                continue
            return partial(_clip, node, data, other)
    return None


def _clip(node: ir.Node, data: ir.Value | None, floor: ir.Value | None) -> None:
    path, slash, kind = (node.name or "").rpartition("/")
    node.op_type = "Clip"
    node.name = f"{path}{slash}{kind.replace('Max', 'Clip', 1)}"
    for position, value in enumerate((data, floor)):
        node.replace_input_with(position, value)
