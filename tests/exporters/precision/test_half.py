"""16 bits: input and output stay in 32, and answers stay close."""

import numpy as np
import onnx
import pytest

from exporters.precision.half import to_float16
from tests.exporters.graphs import GraphBuilder, run
from tests.exporters.precision.test_places import network
from tests.exporters.precision.test_ranges import images

pytestmark = pytest.mark.needs_torch


def test_weights_have_16_bits_and_ends_have_32():
    """The file is half as large; a device feeds it as before."""
    model = network().build("head/Sigmoid")

    half = to_float16(model)

    types = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert types["b.conv/Conv.weight"] == onnx.TensorProto.FLOAT16
    ends = [*half.graph.input, *half.graph.output]
    assert {value.type.tensor_type.elem_type for value in ends} == {onnx.TensorProto.FLOAT}
    (wanted,), (actual,) = run(model, images(1)[0]), run(half, images(1)[0])
    np.testing.assert_allclose(actual, wanted, atol=5e-3)


def test_two_that_read_one_constant_do_not_disturb_each_other():
    """onnxruntime's tool adds two casts of one name there."""
    graph = GraphBuilder(3)
    scales = graph.constant("scales", np.array([1, 1, 2, 2], np.float32))
    first = graph.node("Resize", ["x", "", scales], "a/Resize", mode="nearest")
    other = graph.conv("x", "b/Conv", (4, 3, 1, 1))
    second = graph.node("Resize", [other, "", scales], "c/Resize", mode="nearest")
    joined = graph.node("Concat", [first, second], "d/Concat", axis=1)
    model = graph.build(joined)

    (wanted,), (actual,) = run(model, images(1)[0]), run(to_float16(model), images(1)[0])

    np.testing.assert_allclose(actual, wanted, atol=2e-2)
