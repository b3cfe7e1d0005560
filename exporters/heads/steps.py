"""Operators written down one after the other, named as those of a network are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from runtime_bench.artifact.manifest import DETECTION_OUTPUTS

PATH = "nms"

# The operator, what it reads and what it makes, by name, and its attributes.
Step = tuple[str, list[str], list[str], dict[str, Any]]


def with_detections(
    model: onnx.ModelProto, constants: Mapping[str, NDArray[Any]], steps: Sequence[Step]
) -> onnx.ModelProto:
    """Return a copy of a raw graph that ends in boxes, scores and labels.

    Args:
        model: With one output, which the steps read.
        constants: What else they read, by name.
        steps: They make boxes (N, 4) and scores (N,) in float32, and labels (N,) in int64.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    (raw,) = result.graph.output
    result.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), f"{PATH}/{name}")
        for name, array in constants.items()
    )
    result.graph.node.extend(_named_nodes(steps, outside={raw.name, *DETECTION_OUTPUTS}))
    del result.graph.output[:]
    boxes, scores, labels = DETECTION_OUTPUTS
    result.graph.output.extend(
        [
            helper.make_tensor_value_info(boxes, TensorProto.FLOAT, ["detections", 4]),
            helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["detections"]),
            helper.make_tensor_value_info(labels, TensorProto.INT64, ["detections"]),
        ]
    )
    onnx.checker.check_model(result, full_check=True)
    return result


def _named_nodes(steps: Sequence[Step], *, outside: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes of some steps, called "nms/<operator>", and their values alike."""
    seen: Counter[str] = Counter()
    nodes = []
    for kind, inputs, outputs, attributes in steps:
        suffix = f"_{seen[kind]}" if seen[kind] else ""
        seen[kind] += 1
        nodes.append(
            helper.make_node(
                kind,
                [name if name in outside else f"{PATH}/{name}" for name in inputs],
                [name if name in outside else f"{PATH}/{name}" for name in outputs],
                name=f"{PATH}/{kind}{suffix}",
                **attributes,
            )
        )
    return nodes
