"""Scores are taken level by level, right after the convolution that gives the logits.

There onnxruntime fuses the sigmoid into the convolution, which still has the numbers at hand,
instead of running over all levels once more.
"""

from collections.abc import Callable
from functools import partial

import onnx_ir as ir

from exporters.passes.convolution import only_reader, read_convolution
from exporters.rewrites.edit import (
    Editor,
    is_plain,
    path_of,
    remove_unread,
    replace_output,
    static_shape,
)


def find_sigmoid(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first Sigmoid of joined convolutions, or None."""
    for node in model.graph:
        if not is_plain(node, "Sigmoid") or node.inputs[0] is None:
            continue
        joined = node.inputs[0]
        levels = read_levels(joined)
        if levels is not None and only_reader(joined) is node:
            return partial(_move, model, node, levels)
    return None


def read_levels(joined: ir.Value | None) -> list[ir.Value] | None:
    """Return the convolutions' outputs (1, c, h, w) that make up `joined`, (1, c, anchors)."""
    concat = None if joined is None else joined.producer()
    shape = static_shape(joined)
    if concat is None or not is_plain(concat, "Concat") or shape is None or len(shape) != 3:
        return None
    if concat.attributes.get_int("axis", 0) not in (2, -1):
        return None
    levels = []
    for part in concat.inputs:
        reshape = None if part is None else part.producer()
        if reshape is None or not is_plain(reshape, "Reshape"):
            return None
        level, flat = reshape.inputs[0], static_shape(part)
        whole = static_shape(level)
        if level is None or whole is None or len(whole) != 4 or flat is None:
            return None
        if flat != (whole[0], whole[1], whole[2] * whole[3]) or only_reader(level) is None:
            return None
        if read_convolution(level.producer()) is None or only_reader(part) is not concat:
            return None
        levels.append(level)
    return levels


def _move(model: ir.Model, sigmoid: ir.Node, levels: list[ir.Value]) -> None:
    for level in levels:
        reshape, convolution = only_reader(level), level.producer()
        assert reshape is not None
        assert convolution is not None
        edit = Editor(model, reshape, path_of(convolution))
        reshape.replace_input_with(0, edit.node("Sigmoid", [level], static_shape(level)))
    joined = sigmoid.inputs[0]
    assert joined is not None
    replace_output(model, sigmoid.outputs[0], joined)
    remove_unread(model, sigmoid)
