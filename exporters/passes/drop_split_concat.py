"""Joining all parts of a Split in their order gives what was split."""

from collections.abc import Callable
from functools import partial

import onnx_ir as ir

from exporters.passes.convolution import channels_of, remove


def find_split_concat(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first Concat that only undoes a Split of the channels."""
    for node in model.graph:
        if node.op_type != "Concat" or node.domain or node.outputs[0].is_graph_output():
            continue
        split = node.inputs[0].producer() if node.inputs[0] is not None else None
        if split is None or split.op_type != "Split" or split.domain:
            continue
        if _is_undone(split, node):
            return partial(_drop, model, split, node)
    return None


def _is_undone(split: ir.Node, concat: ir.Node) -> bool:
    same_axis = split.attributes.get_int("axis", 0) == concat.attributes.get_int("axis")
    whole_is_known = channels_of(split.inputs[0]) is not None
    return same_axis and whole_is_known and tuple(concat.inputs) == tuple(split.outputs)


def _drop(model: ir.Model, split: ir.Node, concat: ir.Node) -> None:
    whole = split.inputs[0]
    assert whole is not None
    concat.outputs[0].replace_all_uses_with(whole)
    remove(model, concat)
    if not any(part.uses() or part.is_graph_output() for part in split.outputs):
        remove(model, split)
