"""Do sums of 8-bit products overflow on this processor?

Without instructions made for it (VNNI, a dot product), onnxruntime adds two products in 16 bits
on x86: 255 · 127 + 255 · 127 does not fit, and is cut off. Weights of 7 bits are safe. Whether
that is so is not looked up but tried.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings

_CHANNELS = 64
_OUTPUTS = 16
_SIDE = 4
_GREATEST = {"uint8": 255, "int8": 127}
_WEIGHT = 127


def sums_overflow(activation: str) -> bool:
    """Return whether a convolution of the greatest values gives less than it should here.

    Args:
        activation: The type of what flows, "uint8" or "int8".
    """
    greatest = _GREATEST[activation]
    session = open_session(_graph(activation).SerializeToString(), SessionSettings(threads=1))
    image = np.full((1, _CHANNELS, _SIDE, _SIDE), greatest, np.float32)
    exact = float(_CHANNELS * greatest * _WEIGHT)
    answer = np.asarray(session.run(image)["y"], np.float64)
    return bool(np.abs(answer / exact - 1).max() > 0.02)


def _graph(activation: str) -> onnx.ModelProto:
    greatest, kind = _GREATEST[activation], np.dtype(activation)
    whole = _CHANNELS * greatest * _WEIGHT
    constants: dict[str, np.ndarray] = {
        "one": np.array(1, np.float32),
        "zero": np.array(0, kind),
        "weights": np.full((_OUTPUTS, _CHANNELS, 1, 1), _WEIGHT, np.int8),
        "weight_zero": np.array(0, np.int8),
        "scale": np.array(whole / greatest, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", "one", "zero"], ["xf"]),
        helper.make_node("DequantizeLinear", ["weights", "one", "weight_zero"], ["wf"]),
        helper.make_node("Conv", ["xf", "wf"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "scale", "zero"], ["c8"]),
        helper.make_node("DequantizeLinear", ["c8", "scale", "zero"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, _CHANNELS, _SIDE, _SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
