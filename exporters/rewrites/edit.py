"""Put new nodes into a graph, named after the layer whose work they do."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


class Editor:
    """Inserts nodes before one that is there already.

    A node is called "<path>/<operator>", as all nodes are, with a number where that name is
    taken; what it computes has its name, since onnxruntime's profile tells it by that.

    Attributes:
        model: The graph's model, changed in place.
        place: New nodes come right before it.
        path: The layer that new nodes are named after.
    """

    def __init__(self, model: ir.Model, place: ir.Node, path: str | None = None) -> None:
        self.model = model
        self.place = place
        self.path = path_of(place) if path is None else path

    def node(
        self,
        kind: str,
        inputs: Sequence[ir.Value | None],
        shape: Sequence[int | str | None] | None = None,
        *,
        dtype: ir.DataType = ir.DataType.FLOAT,
        **attributes: Any,
    ) -> ir.Value:
        """Insert a node with one output and return that.

        Args:
            kind: The operator.
            inputs: Its inputs; None for one that is left out.
            shape: Of the output, where a later rewrite wants to know it.
            dtype: Of the output.
            **attributes: Of the node.
        """
        name = self._new_name(f"{self.path}/{kind}")
        output = ir.Value(
            name=name,
            type=ir.TensorType(dtype),
            shape=None if shape is None else ir.Shape(shape),
        )
        node = ir.node(kind, inputs, attributes, outputs=[output], name=name)
        self.model.graph.insert_before(self.place, node)
        return output

    def parts(
        self,
        value: ir.Value,
        shapes: Sequence[Sequence[int | str]],
        *,
        axis: int,
        dtype: ir.DataType = ir.DataType.FLOAT,
    ) -> tuple[ir.Value, ...]:
        """Insert a Split and return its outputs, which have `shapes`, known along `axis`."""
        name = self._new_name(f"{self.path}/Split")
        outputs = [
            ir.Value(
                name=f"{name}:{index}" if index else name,
                type=ir.TensorType(dtype),
                shape=ir.Shape(shape),
            )
            for index, shape in enumerate(shapes)
        ]
        sizes = self.constant("sizes", np.array([shape[axis] for shape in shapes]))
        node = ir.node("Split", [value, sizes], {"axis": axis}, outputs=outputs, name=name)
        self.model.graph.insert_before(self.place, node)
        return tuple(outputs)

    def constant(self, name: str, array: NDArray[Any]) -> ir.Value:
        """Return a constant "<path>.<name>"; what has a fraction becomes float32."""
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        unique = self._new_name(f"{self.path}.{name}")
        tensor = ir.tensor(np.asarray(array, order="C"), name=unique)
        value = ir.Value(
            name=unique,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(array.shape),
            const_value=tensor,
        )
        self.model.graph.register_initializer(value)
        return value

    def comes_before(self, node: ir.Node) -> bool:
        """Return whether a node of the graph comes before the new ones."""
        both = (node, self.place)
        return next(other for other in self.model.graph if other in both) is node

    def _new_name(self, base: str) -> str:
        # Looked up each time, since another editor may have added some since.
        graph = self.model.graph
        taken = {value.name for node in graph for value in node.outputs}
        taken |= {node.name for node in graph}
        taken |= set(graph.initializers)
        return next(name for name in _numbered(base) if name not in taken)


def path_of(node: ir.Node) -> str:
    """Return the layer of a node: "model.0.conv" for "model.0.conv/Conv_1"."""
    return (node.name or "").rpartition("/")[0] or "graph"


def replace_output(model: ir.Model, old: ir.Value, new: ir.Value) -> None:
    """Let `new` be read wherever `old` is, also as an output of the graph; its name stays."""
    if not old.is_graph_output():
        old.replace_all_uses_with(new)
        return
    name = old.name
    old.name = f"{name}.replaced"
    new.name, new.shape, new.type = name, old.shape, old.type
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def remove_unread(model: ir.Model, node: ir.Node | None) -> None:
    """Remove a node that nothing reads, and then what only it has read, and so on back."""
    if node is None or node.graph is None:  # None as well where it is removed already
        return
    if any(value.uses() or value.is_graph_output() for value in node.outputs):
        return
    inputs = [value for value in node.inputs if value is not None]
    model.graph.remove(node, safe=True)
    for value in dict.fromkeys(inputs):
        if value.is_initializer() and not value.uses() and not value.is_graph_output():
            model.graph.initializers.pop(value.name or "", None)
        remove_unread(model, value.producer())


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return the shape of a value if every side of it is known."""
    if value is None or value.shape is None:
        return None
    sides = tuple(value.shape)
    known = tuple(side for side in sides if isinstance(side, int))
    return known if len(known) == len(sides) else None


def is_plain(node: ir.Node | None, kind: str) -> bool:
    """Return whether a node is the ONNX operator `kind`."""
    return node is not None and node.op_type == kind and not node.domain


def array_of(value: ir.Value | None) -> NDArray[Any] | None:
    """Return a constant of any type, or None if the value is not one."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def silu_input(value: ir.Value | None) -> ir.Value | None:
    """Return x where `value` is x · sigmoid(x), and nothing but these two nodes read x."""
    product = None if value is None else value.producer()
    if not is_plain(product, "Mul"):
        return None
    assert product is not None
    for x, gate in (tuple(product.inputs), tuple(reversed(product.inputs))):
        sigmoid = None if gate is None else gate.producer()
        if x is None or not is_plain(sigmoid, "Sigmoid"):
            continue
        assert sigmoid is not None
        if sigmoid.inputs[0] is not x or len(sigmoid.outputs[0].uses()) != 1:
            continue
        if {use.node for use in x.uses()} == {product, sigmoid} and not x.is_graph_output():
            return x
    return None


def _numbered(base: str) -> Iterator[str]:
    yield base
    for number in count(1):
        yield f"{base}_{number}"
