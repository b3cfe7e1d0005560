"""The model that does nothing: a real ONNX file, and what timing it says of the harness."""

from __future__ import annotations

import numpy as np
import pytest

from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.overhead import SIDE, harness_overhead_s, nothing_model


def test_it_gives_back_what_it_gets() -> None:
    """onnxruntime takes it, and it computes nothing."""
    image = np.random.default_rng(0).random((1, 3, SIDE, SIDE), dtype=np.float32)

    outputs = open_session(nothing_model(), SessionSettings(threads=1)).run(image)

    assert list(outputs) == ["same"]
    np.testing.assert_array_equal(outputs["same"], image)


@pytest.mark.needs_torch
def test_it_is_a_whole_model() -> None:
    """onnx's own checker finds nothing to say against it."""
    onnx = pytest.importorskip("onnx")

    onnx.checker.check_model(onnx.load_from_string(nothing_model()), full_check=True)


def test_the_overhead_is_a_time() -> None:
    """Above nothing, and far below any detector."""
    assert 0 < harness_overhead_s(threads=1) < 0.01
