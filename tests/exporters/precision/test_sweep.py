"""The sweep puts the right layers back to float; a made-up clock says what is fast."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from exporters.precision.int8 import Recipe
from exporters.precision.ranges import METHODS
from exporters.precision.sweep import TIME_SHARE, LayerTrial, choose_in_float, sweep
from runtime_bench.runtime.settings import SessionSettings
from tests.exporters.graphs import GraphBuilder
from tests.exporters.precision.test_places import silu

pytestmark = pytest.mark.needs_torch

SESSION = SessionSettings(threads=1)


def raw_network() -> onnx.ModelProto:
    """Return three layers whose output is like that of a head: (1, 8, 49)."""
    graph = GraphBuilder(3)
    value = silu(graph, graph.conv("x", "a.conv/Conv", (8, 3, 1, 1)), "a.act")
    value = silu(graph, graph.conv(value, "b.conv/Conv", (8, 8, 1, 1)), "b.act")
    boxes = graph.conv(value, "box/Conv", (4, 8, 1, 1))
    boxes = graph.node("Softplus", [boxes], "box/Softplus")
    scores = graph.conv(value, "score/Conv", (4, 8, 1, 1))
    scores = graph.node("Sigmoid", [scores], "score/Sigmoid")
    joined = graph.node("Concat", [boxes, scores], "e/Concat", axis=1)
    shape = graph.constant("shape", np.array([1, 8, 49]))
    graph.node("Reshape", [joined, shape], "out/Reshape")
    model = graph.build("out/Reshape")
    for tensor in model.graph.initializer:
        if tensor.name == "box/Conv.weight":  # one channel of it drowns the others
            weight = numpy_helper.to_array(tensor).copy()
            weight[0] *= 300
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    return model


def pictures(count: int = 8) -> list[np.ndarray]:
    """Return noise."""
    random = np.random.default_rng(4)
    return [random.standard_normal((1, 3, 7, 7)).astype(np.float32) for _ in range(count)]


class FixedClock:
    """Every layer in float costs the same, and takes twice as long by itself."""

    def __init__(self, cost: float) -> None:
        self.cost_of_each = cost
        self.graphs = 0

    def nodes(self, model: onnx.ModelProto) -> dict[str, float]:
        """In 8 bits everything takes half as long."""
        self.graphs += 1
        in_int8 = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
        return {node.name: 1.0 if in_int8 else 2.0 for node in model.graph.node}

    def cost(self, first: onnx.ModelProto, second: onnx.ModelProto) -> float:
        """Return the cost, whatever the graphs."""
        assert sum(n.op_type == "QuantizeLinear" for n in second.graph.node) > 0
        return self.cost_of_each


def swept(cost: float, **options):
    """Sweep the network with a clock that is no clock."""
    return sweep(
        raw_network(),
        pictures(),
        Recipe(),
        session=SESSION,
        clock=FixedClock(cost),
        quiet=True,
        **options,
    )


def test_the_layer_with_the_greatest_error_stays_in_float():
    """As many as the time allows, here one: the one whose outputs drown each other."""
    found = swept(TIME_SHARE * 0.9)

    worst = max(found.layers, key=lambda trial: trial.error)
    assert worst.layer == "box"
    assert found.recipe.in_float == (worst.layer,)
    assert [trial.layer for trial in found.layers if trial.in_float] == [worst.layer]
    assert found.distance < min(found.methods.values())


def test_what_costs_too_much_stays_in_8_bits():
    """No layer in float is worth a tenth of the time."""
    found = swept(0.1)

    assert found.recipe.in_float == ()
    assert found.distance == min(found.methods.values())


def test_the_method_is_the_one_that_moves_the_outputs_least():
    """All methods are tried on the same held-out pictures."""
    found = swept(0.1)

    assert set(found.methods) == set(METHODS)
    assert found.methods[found.recipe.method] == min(found.methods.values())


def test_a_sweep_goes_on_from_what_is_known():
    """Errors that are known are not looked for again; the others are told one by one."""
    noted: dict[str, float] = {}

    def note(layer: str, error: float) -> None:
        noted[layer] = error

    whole = swept(0.1, on_layer=note)
    known = {layer: error for layer, error in noted.items() if layer != "score"}
    again: dict[str, float] = {}
    resumed = swept(0.1, known=known, on_layer=again.__setitem__)

    assert set(noted) == {"a.conv", "b.conv", "box", "score"}
    assert set(again) == {"score"}
    assert [trial.error for trial in resumed.layers] == pytest.approx(
        [trial.error for trial in whole.layers]
    )


def trial(layer: str, error: float, cost: float | None) -> LayerTrial:
    """Return a layer's trial."""
    return LayerTrial(layer, error, 2.0, 1.0, cost)


def test_what_is_faster_in_float_is_free():
    """And the rest of the budget goes to the best error for the time."""
    chosen = choose_in_float(
        [
            trial("slow", 0.9, TIME_SHARE * 2),
            trial("free", 0.0, -0.05),
            trial("good", 0.5, TIME_SHARE * 0.5),
            trial("fair", 0.4, TIME_SHARE * 0.6),
            trial("small", 0.1, TIME_SHARE * 0.4),
            trial("not timed", 9.0, None),
        ]
    )

    assert chosen == ("free", "good", "small")
