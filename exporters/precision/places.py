"""Which nodes of a graph are to compute in 8 bits, and which values between them.

Convolutions do, and what moves their results about without another float operation in between:
SiLU, sums, joins, splits, pooling, upsampling. What follows the last convolution (the box
decoder, the sigmoid of the scores, NMS) stays in float: it takes little time, and a score in
256 steps would spoil the order of the detections.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import onnx

# They only move numbers about, so what they give has the scale of what they take.
MOVING = ("Concat", "Split", "MaxPool", "Resize")
# onnxruntime has a kernel in 8 bits for these, by a table or by integers.
POINTWISE = ("Add", "Mul", "Sigmoid", "LeakyRelu", "Relu", "Clip")
# Between a logit and its sigmoid these change no value.
_SHAPING = ("Concat", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
# With fewer outputs it is no layer: a decoder that weighs distances, say.
_LEAST_OUTPUTS = 4
_RANK = 4


@dataclass(frozen=True)
class Places:
    """What becomes 8 bits in a graph.

    Attributes:
        nodes: Names of the nodes, in the order of the graph.
        convolutions: For each layer (such as "model.0.conv") the names of its convolutions.
        with_them: For each layer these and the pointwise nodes behind them, up to the next one.
        in_float: The layers whose convolutions stay in float, as wanted.
        tensors: Values that get a scale.
        activations: For those of them that go into nothing but one, "silu" or "sigmoid".
        joined: Groups of values that must have one scale, since they are only moved about.
            What was clipped shares none with what was not: the least step is what clips.
    """

    nodes: tuple[str, ...]
    convolutions: Mapping[str, tuple[str, ...]]
    with_them: Mapping[str, tuple[str, ...]]
    in_float: tuple[str, ...]
    tensors: tuple[str, ...]
    activations: Mapping[str, str]
    joined: tuple[tuple[str, ...], ...]


def layer_of(node_name: str) -> str:
    """Return the layer of a node: "model.0.conv" for "model.0.conv/Conv_1"."""
    return node_name.rpartition("/")[0] or node_name


def find_places(model: onnx.ModelProto, in_float: Collection[str] = ()) -> Places:
    """Return what is to compute in 8 bits.

    Args:
        model: A finished graph; its nodes have names of their own.
        in_float: Layers whose convolutions, with their activations, stay in float.
    """
    graph = _Graph(model)
    convolutions: dict[str, list[str]] = {}
    kept: dict[str, None] = {}
    chosen: set[str] = set()
    for node in model.graph.node:
        if not graph.is_layer(node):
            continue
        if layer_of(node.name) in in_float:
            kept[layer_of(node.name)] = None
            continue
        convolutions.setdefault(layer_of(node.name), []).append(node.name)
        chosen.add(node.name)
    leading = graph.leading_to(chosen)
    born = {
        output for node in model.graph.node if node.name in chosen for output in node.output
    }
    for node in model.graph.node:
        inputs = graph.variables(node)
        if node.op_type in MOVING:
            wanted = node.name in leading and bool(inputs)
        else:
            wanted = (
                node.op_type in POINTWISE
                and (len(inputs) == len(node.input) or graph.clips_from_below(node))
                and all(name in born for name in inputs)
                and (node.name in leading or graph.is_silu(node))
            )
        if wanted:
            chosen.add(node.name)
            born.update(node.output)
    nodes = [node for node in model.graph.node if node.name in chosen]
    tensors = dict.fromkeys(
        name for node in nodes for name in (*graph.variables(node), *node.output)
    )
    activations = {name: graph.activation_after(name) for name in tensors}
    return Places(
        nodes=tuple(node.name for node in nodes),
        convolutions={layer: tuple(names) for layer, names in convolutions.items()},
        with_them=_with_them(nodes, chosen_convolutions=convolutions),
        in_float=tuple(kept),
        tensors=tuple(tensors),
        activations={name: kind for name, kind in activations.items() if kind},
        joined=_joined(graph, (node for node in nodes if node.op_type in MOVING)),
    )


class _Graph:
    """Who gives and who reads a value."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._nodes = list(model.graph.node)
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._constants |= {node.output[0]: None for node in self._nodes if not node.input}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._outputs = {output.name for output in model.graph.output}
        self._floors: dict[str, float] = {}
        for node in self._nodes:
            floor = self._floor(node)
            if floor is not None:
                self._floors.update(dict.fromkeys(node.output, floor))

    def variables(self, node: onnx.NodeProto) -> list[str]:
        """Return the inputs that depend on the picture."""
        return [name for name in node.input if name and name not in self._constants]

    def is_layer(self, node: onnx.NodeProto) -> bool:
        """Whether it is a convolution of maps with constant weights and several outputs."""
        if node.op_type != "Conv" or node.domain:
            return False
        weight = self._constants.get(node.input[1])
        if weight is None or len(self.variables(node)) != 1:
            return False
        return len(weight.dims) == _RANK and weight.dims[0] >= _LEAST_OUTPUTS

    def clips_from_below(self, node: onnx.NodeProto) -> bool:
        """Whether it is a clip with a least value alone, which is a constant."""
        return (
            node.op_type == "Clip"
            and len(node.input) > 1
            and self._constants.get(node.input[1]) is not None
            and not any(node.input[2:])
        )

    def floor(self, name: str) -> float | None:
        """Return what a value was clipped at from below, perhaps before it was moved about."""
        return self._floors.get(name)

    def _floor(self, node: onnx.NodeProto) -> float | None:
        """Return what the outputs of a node are clipped at; nodes come in their order."""
        if node.op_type == "Relu":
            return 0.0
        if self.clips_from_below(node):
            return float(onnx.numpy_helper.to_array(self._constants[node.input[1]]))
        if node.op_type in MOVING:
            inputs = self.moved(node)
            floors = {self._floors.get(name) for name in inputs}
            return floors.pop() if len(floors) == 1 else None
        return None

    def moved(self, node: onnx.NodeProto) -> list[str]:
        """Return the inputs of a moving node that are moved, not those that say how."""
        return self.variables(node)[: None if node.op_type == "Concat" else 1]

    def leading_to(self, wanted: Collection[str]) -> set[str]:
        """Return the nodes from which only moving and pointwise ones lead to a wanted one."""
        leading: set[str] = set()
        for node in reversed(self._nodes):
            readers = [reader for name in node.output for reader in self._readers.get(name, ())]
            if any(
                reader.name in wanted
                or (reader.name in leading and reader.op_type in MOVING + POINTWISE)
                for reader in readers
            ):
                leading.add(node.name)
        return leading

    def is_silu(self, node: onnx.NodeProto) -> bool:
        """Whether it is one of the two nodes of x · sigmoid(x)."""
        source = node.input[0]
        if node.op_type == "Mul":
            return any(self.activation_after(name) == "silu" for name in node.input)
        return node.op_type == "Sigmoid" and self.activation_after(source) == "silu"

    def activation_after(self, name: str) -> str | None:
        """Return "silu" or "sigmoid" where a value goes into nothing else, or None."""
        while name not in self._outputs:
            readers = self._readers.get(name, [])
            kinds = sorted(reader.op_type for reader in readers)
            if kinds == ["Sigmoid"]:
                return "sigmoid"
            if kinds == ["Mul", "Sigmoid"]:
                sigmoid = next(reader for reader in readers if reader.op_type == "Sigmoid")
                product = next(reader for reader in readers if reader.op_type == "Mul")
                return "silu" if sigmoid.output[0] in product.input else None
            if len(readers) != 1 or readers[0].op_type not in _SHAPING:
                return None
            name = readers[0].output[0]
        return None


def _with_them(
    nodes: Iterable[onnx.NodeProto], *, chosen_convolutions: Mapping[str, Iterable[str]]
) -> dict[str, tuple[str, ...]]:
    """Return for each layer its convolutions and what only reads what they have given."""
    of_node = {name: layer for layer, names in chosen_convolutions.items() for name in names}
    owners: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for node in nodes:
        owner = of_node.get(node.name)
        if owner is None and node.op_type in POINTWISE:
            owner = owners.get(node.input[0])
        if owner is not None:
            owners.update(dict.fromkeys(node.output, owner))
            found.setdefault(owner, []).append(node.name)
    return {layer: tuple(names) for layer, names in found.items()}


def _joined(graph: _Graph, nodes: Iterable[onnx.NodeProto]) -> tuple[tuple[str, ...], ...]:
    """Return the values of each set of moving nodes that hang together."""
    groups: list[dict[str, None]] = []
    for node in nodes:
        floor = graph.floor(node.output[0])
        inputs = [name for name in graph.moved(node) if graph.floor(name) == floor]
        group = dict.fromkeys([*inputs, *node.output])
        for other in [other for other in groups if not group.keys().isdisjoint(other)]:
            group |= other
            groups.remove(other)
        groups.append(group)
    return tuple(tuple(group) for group in groups)
