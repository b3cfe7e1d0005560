"""8 bits by onnxruntime against a plain numpy copy of the arithmetic."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from exporters.precision.int8 import Recipe, to_int8
from exporters.precision.lower import FLOAT_ONLY, Lowering
from exporters.precision.sums import sums_overflow
from exporters.rewrites import REWRITES
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.profile import node_times
from runtime_bench.runtime.settings import SessionSettings
from tests.exporters.graphs import GraphBuilder, kinds, run
from tests.exporters.precision.test_places import network
from tests.exporters.precision.test_ranges import images

pytestmark = pytest.mark.needs_torch

QUICK = Recipe(method="minmax")


def to_steps(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return what 256 steps make of values: round, clip, and back."""
    scale = np.float32((high - low) / 255)
    zero = np.round(-low / scale)
    steps = np.clip(np.round(values / scale) + zero, 0, 255) - zero
    return (steps * scale).astype(np.float32)


def test_a_convolution_computes_what_its_definition_says():
    """Input, weights by channel, and output are rounded to steps; sums are exact."""
    graph = GraphBuilder(3)
    graph.conv("x", "a/Conv", (5, 3, 1, 1))
    model = graph.build("a/Conv")
    picture = images(1)[0]
    weight, bias = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer)

    (actual,) = run(to_int8(model, [picture], QUICK, quiet=True).model, picture)

    scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
    rows = (np.round(weight / scale) * scale)[:, :, 0, 0]
    values = to_steps(picture, min(0, picture.min()), max(0, picture.max()))
    wanted = np.einsum("oc,bchw->bohw", rows, values) + bias[:, None, None]
    (exact,) = run(model, picture)
    low, high = min(0, exact.min()), max(0, exact.max())
    step = (high - low) / 255
    assert np.abs(actual - to_steps(wanted, low, high)).max() <= 1.01 * step
    assert np.abs(actual - to_steps(wanted, low, high)).mean() < 0.02 * step


def test_the_whole_body_runs_in_8_bits():
    """onnxruntime takes up every pair: no float convolution or join is left in between."""
    model = network().build("head/Sigmoid")
    quantized = to_int8(model, images(3), Recipe(), quiet=True)

    times = node_times(
        quantized.model.SerializeToString(), images(1), SessionSettings(threads=1), runs=1
    )

    ran = [node.op_type for node in times.nodes]
    assert ran.count("QLinearConv") == 3
    assert ran.count("QLinearSigmoid") == ran.count("QLinearMul") == 2
    assert {"Conv", "Concat", "Mul"}.isdisjoint(ran)
    assert quantized.convolutions == 3


def test_outputs_stay_close_and_the_graph_keeps_its_ends():
    """Three layers of rounding move a score by a few hundredths at most."""
    model = network().build("head/Sigmoid")
    quantized = to_int8(model, images(4), Recipe(), quiet=True).model

    assert [v.name for v in quantized.graph.output] == ["head/Sigmoid"]
    for picture in images(4):
        (wanted,), (actual,) = run(model, picture), run(quantized, picture)
        assert np.abs(wanted - actual).mean() < 0.05


def test_layers_that_stay_in_float_keep_their_weights():
    """Their weights are not rounded; the others' are 8 bits in the file."""
    model = network().build("head/Sigmoid")
    quantized = to_int8(model, images(2), Recipe(in_float=("a.conv",)), quiet=True)

    stored = {tensor.name: tensor.data_type for tensor in quantized.model.graph.initializer}
    assert stored["a.conv/Conv.weight"] == onnx.TensorProto.FLOAT
    assert stored["b.conv/Conv.weight_quantized"] == onnx.TensorProto.INT8
    assert quantized.places.in_float == ("a.conv",)


def test_a_quick_graph_has_the_same_nodes():
    """It is for timing: only its numbers differ."""
    model = network().build("head/Sigmoid")

    whole, quick = (
        to_int8(model, images(3), Recipe(), quick=quick, quiet=True).model
        for quick in (False, True)
    )

    assert kinds(whole) == kinds(quick)


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_either_type_may_flow(kind):
    """With a sign or without, the outputs are as close."""
    model = network().build("head/Sigmoid")
    recipe = Recipe(activation=kind, reduce_range=True)
    quantized = to_int8(model, images(2), recipe, quiet=True).model

    (wanted,), (actual,) = run(model, images(2)[0]), run(quantized, images(2)[0])
    assert np.abs(wanted - actual).mean() < 0.05


def test_a_tensor_that_is_always_zero_gets_a_scale():
    """Nothing is divided by 0."""
    model = network().build("head/Sigmoid")
    blank = np.zeros((1, 3, 7, 7), np.float32)

    (answer,) = run(to_int8(model, [blank, blank], Recipe(), quiet=True).model, blank)

    assert np.isfinite(answer).all()


def test_without_pictures_there_is_no_calibration():
    """One line that says what to give."""
    with pytest.raises(EdgeError, match="int8 needs pictures to calibrate on; pass --calib"):
        to_int8(network().build("head/Sigmoid"), [], Recipe())


def test_a_graph_without_a_convolution_is_refused():
    """There is nothing to win."""
    graph = GraphBuilder(3)
    graph.node("Sigmoid", ["x"], "a/Sigmoid")

    with pytest.raises(EdgeError, match="no convolution is left to compute in int8"):
        to_int8(graph.build("a/Sigmoid"), images(1), Recipe())


def test_the_float_graph_is_not_changed():
    """Each plan starts from it again."""
    model = network().build("head/Sigmoid")
    before = model.SerializeToString(deterministic=True)

    for lowering in (Lowering("int8", images(2), quiet=True), Lowering("float16")):
        lowering(model)

    assert model.SerializeToString(deterministic=True) == before
    assert Lowering()(model) is model


def test_whether_sums_overflow_is_an_answer_of_this_processor():
    """It agrees with the flags of the processor where they are known."""
    described = Path("/proc/cpuinfo")
    flags = described.read_text() if described.exists() else ""
    if "vnni" not in flags:
        pytest.skip("the processor's flags do not tell")

    assert not sums_overflow("uint8")


def test_rewrites_for_float_alone_are_rewrites():
    """A name that is none would leave one in by mistake."""
    assert set(FLOAT_ONLY) < set(REWRITES)


@pytest.mark.parametrize("floor", [0.0, -0.2, -1.0])
def test_a_clip_costs_nothing_in_8_bits(floor):
    """The least step of what flows is the floor, so the clipping is the activation.

    Also where it is joined with what goes lower: it has a scale of its own there.
    """
    graph = GraphBuilder(3)
    one = graph.conv("x", "a/Conv", (8, 3, 1, 1))
    if floor:
        value = graph.node("Clip", [one, graph.constant("floor", np.float32(floor))], "a/Clip")
    else:
        value = graph.node("Relu", [one], "a/Relu")
    joined = graph.node("Concat", [value, graph.conv("x", "c/Conv", (8, 3, 1, 1))], "d", axis=1)
    graph.conv(joined, "b/Conv", (8, 16, 1, 1))
    model = graph.build("b/Conv", value)

    quantized = to_int8(model, images(3), Recipe(), quiet=True).model

    assert not {"Relu", "Clip"} & set(kinds(quantized))
    wanted, actual = run(model, images(3)[0]), run(quantized, images(3)[0])
    assert np.abs(wanted[0] - actual[0]).mean() < 0.1 * np.abs(wanted[0]).mean()
    step = np.ptp(wanted[1]) / 255
    assert abs(actual[1].min() - floor) <= step
