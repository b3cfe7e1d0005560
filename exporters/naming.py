"""Name nodes, values and weights of a graph after the modules that they come from.

onnxruntime's profile tells times by node name, and its layout optimiser names the
nodes that it makes after the value they compute: so a value is called as its node is.
"""

import ast
from collections import Counter
from collections.abc import Iterable
from itertools import takewhile

import onnx
import onnx_ir as ir
from torch import nn

_SCOPES = "pkg.torch.onnx.name_scopes"  # written by the exporter: modules, then operation
_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"}


def name_after_modules(
    model: ir.Model, module: nn.Module, *, network_attribute: str = "network"
) -> None:
    """Name every node "<module path>/<operator>", and its outputs likewise, in place.

    A second node of that name gets the suffix _1, the next one _2. Inputs and outputs of
    the graph keep their names; a weight keeps its parameter's.

    Args:
        model: Fresh from the exporter, with the notes it writes into each node.
        module: What was exported.
        network_attribute: A wrapper's attribute that holds the network; not in the names.
    """
    modules = {name for name, _ in module.named_modules()}
    prefix = f"{network_attribute}." if network_attribute in modules else ""
    paths: dict[ir.Node, str] = {}
    for node in model.graph:
        path = _path_of_weight(node, modules) or _path_of_scopes(node, modules)
        if path is not None:
            paths[node] = path
    for node in model.graph:
        if node not in paths:
            paths[node] = _path_of_neighbours(node, paths)
    _rename_nodes(model, {node: _without(path, prefix) for node, path in paths.items()})
    _rename_weights(model, prefix)


def restore_names(model: ir.Model) -> None:
    """Give the names back after a tool has changed the graph, in place.

    A node keeps the name that is ours; one that a tool has made is named after the modules
    around it. What a node computes is then called as the node.
    """
    paths: dict[ir.Node, str] = {}
    for node in model.graph:
        ours = [n for n in (node.name, node.outputs[0].name) if n and _operator_of(n)]
        right = [name for name in ours if _operator_of(name) == node.op_type]
        if ours:
            paths[node] = (right or ours)[0].rpartition("/")[0]
    for node in model.graph:
        if node not in paths:
            paths[node] = _path_of_neighbours(node, paths)
    _rename_nodes(model, paths)


def restore_names_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` with its names given back, see `restore_names`."""
    graph = ir.from_proto(model)
    restore_names(graph)
    return ir.to_proto(graph)


def _operator_of(name: str) -> str:
    """Return "Conv" for "model.0.conv/Conv_1", and nothing for a name that is not ours."""
    return name.rpartition("/")[2].partition("_")[0] if "/" in name else ""


def _path_of_weight(node: ir.Node, modules: set[str]) -> str | None:
    """Return the module that owns the node's weight: not changed by fusing layers."""
    if node.op_type not in _WEIGHTED or len(node.inputs) < 2 or node.inputs[1] is None:
        return None
    owner = (node.inputs[1].name or "").rpartition(".")[0]
    return owner if owner and owner in modules else None


def _path_of_scopes(node: ir.Node, modules: set[str]) -> str | None:
    """Return the innermost module of the exporter's notes, or None without notes."""
    notes = node.metadata_props.get(_SCOPES)
    if notes is None:
        return None
    path = ""
    for scope in ast.literal_eval(notes)[:-1]:
        if scope in modules and scope.startswith(path):
            path = scope
        elif f"{path}.{scope}" in modules:  # a module that was swapped is told by its attribute
            path = f"{path}.{scope}"
    return path


def _path_of_neighbours(node: ir.Node, paths: dict[ir.Node, str]) -> str:
    """Return the innermost module that holds what feeds the node and what reads it."""
    producers = [value.producer() for value in node.inputs if value is not None]
    readers = [use.node for output in node.outputs for use in output.uses()]
    around = [paths[n] for n in (*producers, *readers) if n is not None and n in paths]
    return _common_path(around)


def _common_path(paths: Iterable[str]) -> str:
    """Return "model.2" for "model.2.cv1.act" and "model.2.m.0"."""
    levels = zip(*(path.split(".") for path in paths), strict=False)
    return ".".join(names[0] for names in takewhile(lambda names: len(set(names)) == 1, levels))


def _without(path: str, prefix: str) -> str:
    return "" if f"{path}." == prefix else path.removeprefix(prefix)


def _rename_nodes(model: ir.Model, paths: dict[ir.Node, str]) -> None:
    """Name nodes and what they compute, in the order of the graph."""
    numbers: Counter[str] = Counter()
    outputs = set(model.graph.outputs)
    taken = set(model.graph.initializers)  # a folded node leaves one under its old name
    for node in model.graph:
        base = f"{paths[node] or 'graph'}/{node.op_type}"
        name = base
        while name in taken:
            numbers[base] += 1
            name = f"{base}_{numbers[base]}"
        taken.add(name)
        node.name = name
        for index, value in enumerate(node.outputs):
            if value not in outputs and value.name:
                value.name = f"{node.name}:{index}" if index else node.name


def _rename_weights(model: ir.Model, prefix: str) -> None:
    """Take the wrapper's prefix off; name the exporter's own constants after their reader."""
    values = list(model.graph.initializers.values())
    names: Counter[str] = Counter()
    for value in values:
        name = value.name or ""
        if name.startswith(prefix) and "." in name:
            name = name.removeprefix(prefix)
        else:
            use = next(iter(value.uses()), None)
            name = f"{use.node.name}.input{use.idx}" if use else f"graph.{name}"
        names[name] += 1
        unique = name if names[name] == 1 else f"{name}_{names[name] - 1}"
        model.graph.initializers.pop(value.name or "")
        value.name = unique
        model.graph.register_initializer(value)
