"""Take out of a graph whatever tells about the machine that made it.

The exporter writes a stack trace, with the paths of source files, into every node.
"""

import onnx


def strip_origin(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the notes of `model` and of all its parts, in place, and return it."""
    _clear(model)
    for function in model.functions:
        _clear(function)
        _strip_nodes(function.node)
    _strip_graph(model.graph)
    return model


def _strip_graph(graph: onnx.GraphProto) -> None:
    _clear(graph)
    for part in (graph.input, graph.output, graph.value_info, graph.initializer):
        for value in part:
            _clear(value)
    _strip_nodes(graph.node)


def _strip_nodes(nodes: "list[onnx.NodeProto]") -> None:
    for node in nodes:
        _clear(node)
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            if attribute.HasField("g"):
                _strip_graph(attribute.g)
            for graph in attribute.graphs:
                _strip_graph(graph)


def _clear(
    part: onnx.ModelProto
    | onnx.FunctionProto
    | onnx.GraphProto
    | onnx.NodeProto
    | onnx.ValueInfoProto
    | onnx.TensorProto,
) -> None:
    part.ClearField("doc_string")
    part.ClearField("metadata_props")
