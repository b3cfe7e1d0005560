"""A graph in 16-bit floats between its inputs and outputs, which stay in 32 bits."""

import warnings

import onnx
import onnx_ir as ir

from exporters.strip import strip_origin
from runtime_bench.runtime import session  # noqa: F401  (it switches telemetry off, and comes first)

from onnxruntime.transformers.float16 import (  # isort: skip
    DEFAULT_OP_BLOCK_LIST,
    convert_float_to_float16,
)

# A score of 0.001 is not exact enough, and neither is a position of a thousand pixels: NMS and
# what leads there from the raw output stays in 32 bits.
_KEPT = ("NonMaxSuppression", "TopK", "Resize")


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph that computes in 16 bits, with 32-bit inputs and outputs.

    Args:
        model: A finished graph; it is not changed.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nms = [node.name for node in copy.graph.node if node.name.startswith("nms/")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that become 0, which is what 16 bits do
        half: onnx.ModelProto = convert_float_to_float16(
            copy,
            keep_io_types=True,
            op_block_list=sorted({*DEFAULT_OP_BLOCK_LIST, *_KEPT}),
            node_block_list=nms,
        )
    _drop_doubles(half.graph)
    del half.graph.value_info[:]  # the tool leaves some types as they were
    ordered = ir.from_proto(half)
    ordered.graph.sort()  # the tool adds its casts at the end
    half = strip_origin(ir.to_proto(ordered))
    onnx.checker.check_model(half, full_check=True)
    return half


def _drop_doubles(graph: onnx.GraphProto) -> None:
    """Drop casts that are there twice: the tool adds one for each reader, under one name."""
    seen: set[str] = set()
    for node in list(graph.node):
        if seen.issuperset(node.output):
            graph.node.remove(node)
        seen.update(node.output)
