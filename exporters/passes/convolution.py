"""A convolution node as its arrays and attributes, and the edits that rewrites need."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Convolution:
    """A 2-D Conv node with constant weights.

    Attributes:
        node: The node itself.
        shape: Of the weight: (out, in / groups, rows, columns).
        strides: Rows and columns.
        groups: Into how many independent parts the channels are divided.
        padded: Whether zeros are put around the input.
    """

    node: ir.Node
    shape: tuple[int, int, int, int]
    strides: tuple[int, int]
    groups: int
    padded: bool

    @cached_property
    def weight(self) -> Array:
        """The weight in float64, shaped as `shape` says."""
        weight = constant_of(self.node.inputs[1])
        assert weight is not None
        return weight

    @cached_property
    def bias(self) -> Array:
        """The bias in float64, (out,); zeros where the node has none."""
        bias = constant_of(self.node.inputs[2]) if len(self.node.inputs) > 2 else None
        return np.zeros(self.shape[0]) if bias is None else bias

    @property
    def is_pointwise(self) -> bool:
        """Whether each output pixel is a matrix times one input pixel."""
        return self.shape[2:] == (1, 1) and self.groups == 1 and not self.padded

    @property
    def is_per_pixel(self) -> bool:
        """Whether it is pointwise and keeps every pixel."""
        return self.is_pointwise and self.strides == (1, 1)


def read_convolution(node: ir.Node | None) -> Convolution | None:
    """Return the convolution that `node` is, or None if it is none that we can change."""
    if node is None or node.op_type != "Conv" or node.domain:
        return None
    tensors = [_tensor_of(value) for value in node.inputs[1:] if value is not None]
    if any(tensor is None for tensor in tensors) or tensors[0] is None:
        return None
    shape = tensors[0].numpy().shape
    if len(shape) != 4:
        return None
    auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
    pads = node.attributes.get_ints("pads", [0, 0, 0, 0])
    strides = node.attributes.get_ints("strides", [1, 1])
    return Convolution(
        node=node,
        shape=(shape[0], shape[1], shape[2], shape[3]),
        strides=(strides[0], strides[1]),
        groups=node.attributes.get_int("group", 1),
        padded=auto_pad not in ("NOTSET", "VALID") or (auto_pad == "NOTSET" and any(pads)),
    )


def constant_of(value: ir.Value | None) -> Array | None:
    """Return a float32 constant in float64, or None if the value is not one."""
    tensor = _tensor_of(value)
    return None if tensor is None else np.asarray(tensor.numpy(), np.float64)


def _tensor_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return tensor if tensor is not None and tensor.dtype == ir.DataType.FLOAT else None


def only_reader(value: ir.Value | None) -> ir.Node | None:
    """Return the one node that reads `value`, once; None if it is read elsewhere too."""
    if value is None or value.is_graph_output() or len(value.uses()) != 1:
        return None
    return next(iter(value.uses())).node


def channels_of(value: ir.Value | None) -> int | None:
    """Return the channels of a value of known shape (batch, channels, rows, columns)."""
    if value is None or value.shape is None or len(value.shape) != 4:
        return None
    channels = value.shape[1]
    return channels if isinstance(channels, int) else None


def set_weights(model: ir.Model, convolution: ir.Node, weight: Array, bias: Array) -> None:
    """Give the node a new weight and bias, rounded to float32, under the old names."""
    old = list(convolution.inputs[1:])
    path = (convolution.name or convolution.op_type).rpartition("/")[0] or "conv"
    names = [f"{path}.weight", f"{path}.bias"]
    for index, value in enumerate(old):
        if value is not None and value.name:
            names[index] = value.name
    convolution.resize_inputs(1)
    for value in old:
        drop_unread_constant(model, value)
    convolution.resize_inputs(3)
    convolution.replace_input_with(1, _new_constant(model, names[0], weight))
    convolution.replace_input_with(2, _new_constant(model, names[1], bias))


def _new_constant(model: ir.Model, name: str, array: Array) -> ir.Value:
    initializers = model.graph.initializers
    unique, number = name, 0
    while unique in initializers:  # the old one, where another node still reads it
        number += 1
        unique = f"{name}_{number}"
    tensor = ir.tensor(np.ascontiguousarray(array, np.float32), name=unique)
    value = ir.Value(
        name=unique,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(array.shape),
        const_value=tensor,
    )
    model.graph.register_initializer(value)
    return value


def drop_unread_constant(model: ir.Model, value: ir.Value | None) -> None:
    """Remove a weight that no node reads any more."""
    if value is not None and value.is_initializer() and not value.uses():
        model.graph.initializers.pop(value.name or "", None)


def bypass(model: ir.Model, node: ir.Node, value: ir.Value) -> None:
    """Let whatever reads the output of `node` read `value` instead, and remove `node`."""
    node.outputs[0].replace_all_uses_with(value)
    remove(model, node)


def remove(model: ir.Model, node: ir.Node) -> None:
    """Remove a node that nobody reads, and the weights that only it read."""
    inputs = list(node.inputs)
    model.graph.remove(node, safe=True)
    for value in inputs:
        drop_unread_constant(model, value)
