"""Boxes and scores go to NMS as they are, instead of joined into one tensor and split again.

The raw output that other tools read is one tensor; where NMS is in the graph, nobody sees it,
and joining and splitting it copies every score twice.
"""

from collections.abc import Callable
from functools import partial

import onnx_ir as ir

from exporters.passes.convolution import only_reader
from exporters.rewrites.edit import is_plain, remove_unread, static_shape


def find_detour(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first Split that gives just what a Concat joined, or None."""
    for split in model.graph:
        if not is_plain(split, "Split") or split.inputs[0] is None:
            continue
        concat = split.inputs[0].producer()
        if concat is None or not is_plain(concat, "Concat"):
            continue
        before = [static_shape(value) for value in concat.inputs]
        after = [static_shape(value) for value in split.outputs]
        same_axis = split.attributes.get_int("axis", 0) == concat.attributes.get_int("axis", 0)
        ends = any(value.is_graph_output() for value in split.outputs)
        if before != after or None in before or not same_axis or ends:
            continue
        if only_reader(split.inputs[0]) is split and all(concat.inputs):
            return partial(_shorten, model, concat, split)
    return None


def _shorten(model: ir.Model, concat: ir.Node, split: ir.Node) -> None:
    for part, whole in zip(concat.inputs, split.outputs, strict=True):
        assert part is not None
        whole.replace_all_uses_with(part)
    remove_unread(model, split)
