"""A maximum with one number is a clip, which runtimes fuse with the convolution before it."""

import itertools
from collections.abc import Callable, Set
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
            taken = {other_node.name for other_node in model.graph}
            return partial(_clip, node, data, other, name=_free_name(node, taken))
    return None


def _free_name(node: ir.Node, taken: Set[str | None]) -> str:
    path, slash, kind = (node.name or "").rpartition("/")
    name = base = f"{path}{slash}{kind.replace('Max', 'Clip', 1)}"
    numbers = itertools.count(1)
    while name in taken:
        name = f"{base}_{next(numbers)}"
    return name


def _clip(node: ir.Node, data: ir.Value | None, floor: ir.Value | None, *, name: str) -> None:
    node.op_type = "Clip"
    node.name = name
    for position, value in enumerate((data, floor)):
        node.replace_input_with(position, value)
