"""Compute something for a few anchors that a graph computes for all of them.

Where each column of a value follows from the same columns of other values, taking columns out
may as well come first. So the way from a value back to where columns mix, or where they come
from the network, is copied for the chosen columns; constants are cut likewise.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from exporters.rewrites.edit import Editor, array_of, path_of, static_shape

_ELEMENTWISE = frozenset({"Add", "Div", "Exp", "Mul", "Sigmoid", "Sub"})
# These name the axes that they work on, and the anchors may not be among them.
_BY_AXIS = frozenset({"Concat", "ReduceMax", "Softmax", "Split"})


@dataclass(frozen=True)
class Chosen:
    """A choice of anchors, and where in the graph it is known.

    Attributes:
        model: The graph's model, changed in place.
        place: New nodes come right before it.
        anchors: (chosen,) int64, their indices.
        name: What the number of chosen anchors is called in shapes.
        all_anchors: How many anchors there are, along the last axis.
    """

    model: ir.Model
    place: ir.Node
    anchors: ir.Value
    name: str
    all_anchors: int


def only_for(
    chosen: Chosen, value: ir.Value, done: dict[ir.Value, ir.Value] | None = None
) -> ir.Value:
    """Insert what gives the chosen columns of `value`, (…, anchors), and return that."""
    done = {} if done is None else done
    if value not in done:
        node = value.producer()
        if node is not None and _is_anchor_wise(node, chosen.all_anchors):
            _copy(chosen, node, done)
        else:
            done[value] = take(chosen, value)
    return done[value]


def sources(value: ir.Value, anchors: int) -> set[ir.Value]:
    """Return the values, constants aside, from which `only_for` would cut columns."""
    node = value.producer()
    if node is None or not _is_anchor_wise(node, anchors):
        return set() if value.is_initializer() else {value}
    data = [v for v in node.inputs if v is not None and _has_anchors(v, anchors)]
    return set().union(*(sources(v, anchors) for v in data))


def take(chosen: Chosen, value: ir.Value) -> ir.Value:
    """Insert a Gather of the chosen columns."""
    shape = static_shape(value)
    assert shape is not None
    node = value.producer()
    edit = Editor(chosen.model, chosen.place, path_of(node) if node else None)
    return edit.node(
        "Gather", [value, chosen.anchors], (*shape[:-1], chosen.name), axis=len(shape) - 1
    )


def _is_anchor_wise(node: ir.Node, anchors: int) -> bool:
    """Whether each column of what the node gives follows from that column alone."""
    if node.domain or any(value is None for value in node.inputs):
        return False
    outputs = [static_shape(value) for value in node.outputs]
    if not all(shape and shape[-1] == anchors for shape in outputs):
        return False
    if node.op_type in _ELEMENTWISE:
        return True
    if not _has_anchors(node.inputs[_data_index(node)], anchors):
        return False
    if node.op_type in _BY_AXIS:
        return _spares_last_axis(node)
    if node.op_type == "Transpose":
        rank = len(outputs[0] or ())
        return node.attributes.get_ints("perm", [0])[-1] == rank - 1
    if node.op_type == "MatMul":
        return array_of(node.inputs[0]) is not None
    if node.op_type == "Conv":
        weight = array_of(node.inputs[1])
        plain = list(node.attributes.get_ints("strides", [1, 1])) == [1, 1] and not any(
            node.attributes.get_ints("pads", [0])
        )
        return weight is not None and weight.shape[2:] == (1, 1) and plain
    return node.op_type == "Reshape" and array_of(node.inputs[1]) is not None


def _has_anchors(value: ir.Value | None, anchors: int) -> bool:
    shape = static_shape(value)
    return bool(shape) and shape is not None and shape[-1] == anchors


def _spares_last_axis(node: ir.Node) -> bool:
    rank = len(static_shape(node.inputs[0]) or ())
    if node.op_type == "ReduceMax":
        axes = array_of(node.inputs[1]) if len(node.inputs) > 1 else None
        listed = [] if axes is None else axes.tolist()
        kept = node.attributes.get_int("keepdims", 1) == 1
        return kept and bool(listed) and all(axis not in (-1, rank - 1) for axis in listed)
    default = {"Softmax": -1, "Split": 0}.get(node.op_type, -1)
    return node.attributes.get_int("axis", default) not in (-1, rank - 1)


def _data_index(node: ir.Node) -> int:
    return 1 if node.op_type == "MatMul" else 0


def _copy(chosen: Chosen, node: ir.Node, done: dict[ir.Value, ir.Value]) -> None:
    """Insert a copy of an anchor-wise node for the chosen columns."""
    edit = Editor(chosen.model, chosen.place, path_of(node))
    inputs = [_input_of_copy(chosen, node, index, done) for index in range(len(node.inputs))]
    shapes: list[tuple[int | str, ...]] = [
        (*(static_shape(value) or ())[:-1], chosen.name) for value in node.outputs
    ]
    if node.op_type == "Split":
        source = inputs[0]
        copies = edit.parts(source, shapes, axis=node.attributes.get_int("axis", 0))
    else:
        attributes = {name: value.value for name, value in node.attributes.items()}
        copies = (edit.node(node.op_type, inputs, shapes[0], **attributes),)
    done.update(zip(node.outputs, copies, strict=True))


def _input_of_copy(
    chosen: Chosen, node: ir.Node, index: int, done: dict[ir.Value, ir.Value]
) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    if node.op_type == "Reshape" and index == 1:
        sides = static_shape(node.outputs[0])
        assert sides is not None
        edit = Editor(chosen.model, chosen.place, path_of(node))
        return edit.constant("shape", np.array([*sides[:-1], -1]))
    is_data = node.op_type in _ELEMENTWISE or node.op_type == "Concat"
    if not is_data and index != _data_index(node):
        return value
    # What is the same for all anchors needs no cutting.
    return only_for(chosen, value, done) if _has_anchors(value, chosen.all_anchors) else value
