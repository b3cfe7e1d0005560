"""What the harness itself costs: a model that does nothing, timed like any other."""

from __future__ import annotations

from statistics import median

import numpy as np

from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.inputs import in_turn
from runtime_bench.timing.latency import measure_latency

RUNS = 300
SIDE = 8


def nothing_model() -> bytes:
    """Return an ONNX file of one Identity: (1, 3, 8, 8) float32 in and out.

    Written by hand, byte by byte as protocol buffers are, since the device side has no onnx.
    """
    shape = b"".join(_bytes(1, _number(1, side)) for side in (1, 3, SIDE, SIDE))
    kind = _bytes(1, _number(1, 1) + _bytes(2, shape))  # a tensor, of float32
    node = _bytes(1, b"image") + _bytes(2, b"same") + _bytes(4, b"Identity")
    graph = (
        _bytes(1, node)
        + _bytes(2, b"nothing")
        + _bytes(11, _bytes(1, b"image") + _bytes(2, kind))
        + _bytes(12, _bytes(1, b"same") + _bytes(2, kind))
    )
    opset = _bytes(1, b"") + _number(2, 13)
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, opset)


def harness_overhead_s(*, threads: int) -> float:
    """Return the median seconds that a model which does nothing takes here.

    It is what the clock, our call and onnxruntime's own call add to every measured time; on
    the processor, whichever provider computes.
    """
    session = open_session(nothing_model(), SessionSettings(threads=threads))
    image = np.zeros((1, 3, SIDE, SIDE), dtype=np.float32)
    samples = measure_latency(
        in_turn(session, [image]), warmup_runs=20, min_runs=RUNS, min_time_s=0
    )
    return median(samples.timed_s)


def _number(field: int, value: int) -> bytes:
    """Return a field that holds a number below 128."""
    return bytes([field << 3, value])


def _bytes(field: int, content: bytes) -> bytes:
    """Return a field that holds up to 127 bytes."""
    assert len(content) < 128, "a length is one byte here"
    return bytes([field << 3 | 2, len(content)]) + content
