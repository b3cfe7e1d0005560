"""Put pairs of QuantizeLinear and DequantizeLinear into a graph, by onnxruntime's own tool.

The only place that imports `onnxruntime.quantization`. The file stays plain ONNX: on load,
onnxruntime turns a convolution between such pairs into one that computes with integers.
Weights have a scale for each channel (Krishnamoorthi, arXiv 1806.08342).
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping

import numpy as np
import onnx

from exporters.precision.places import MOVING, POINTWISE, Places
from exporters.precision.ranges import Range
from exporters.strip import strip_origin
from runtime_bench.runtime import session  # noqa: F401  (it switches telemetry off, and comes first)

from onnxruntime.quantization import CalibrationMethod, QuantType  # isort: skip
from onnxruntime.quantization.calibrate import TensorsData  # isort: skip
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer  # isort: skip

ACTIVATIONS = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
# A tensor that is always 0 needs a scale as well.
_LEAST_WIDTH = 1e-6


def insert_pairs(
    model: onnx.ModelProto,
    places: Places,
    ranges: Mapping[str, Range],
    *,
    activation: str = "uint8",
    reduce_range: bool = False,
) -> onnx.ModelProto:
    """Return a copy of a graph that computes in 8 bits at some places.

    Args:
        model: A finished graph; it is not changed.
        places: From `find_places`, of this graph.
        ranges: For each of `places.tensors`.
        activation: A key of `ACTIVATIONS`: the type of what flows.
        reduce_range: Whether weights keep to 7 bits, for processors whose sums overflow else.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(onnx.shape_inference.infer_shapes(model))
    bounds = {name: _wide_enough(limits) for name, limits in ranges.items()}
    with _quiet():
        quantizer = QDQQuantizer(
            copy,
            True,  # a scale for each channel of the weights
            reduce_range,
            QuantType.QInt8,
            ACTIVATIONS[activation],
            TensorsData(CalibrationMethod.MinMax, bounds),
            list(places.nodes),
            [],
            ["Conv", *MOVING, *POINTWISE],
            {"ForceQuantizeNoInputCheck": True},
        )
        quantizer.quantize_model()
    quantizer.model.topological_sort()
    result: onnx.ModelProto = quantizer.model.model
    result.ir_version = model.ir_version
    strip_origin(result)
    onnx.checker.check_model(result, full_check=True)
    return result


def _wide_enough(limits: Range) -> tuple[np.float32, np.float32]:
    low, high = min(0.0, limits[0]), max(0.0, limits[1])
    return np.float32(low), np.float32(max(high, low + _LEAST_WIDTH))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tool's advice on calibration, which is not for our users, out of the log."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
