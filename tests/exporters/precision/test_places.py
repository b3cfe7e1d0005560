"""Which nodes compute in 8 bits: what leads to a convolution, and nothing behind the last."""

import numpy as np
import pytest

from exporters.precision.places import find_places, layer_of
from tests.exporters.graphs import GraphBuilder

pytestmark = pytest.mark.needs_torch


def silu(graph: GraphBuilder, value: str, layer: str) -> str:
    """Add value · sigmoid(value)."""
    gate = graph.node("Sigmoid", [value], f"{layer}/Sigmoid")
    return graph.node("Mul", [value, gate], f"{layer}/Mul")


def network() -> GraphBuilder:
    """Two convolutions with SiLU, a join, and a head that ends in a sigmoid."""
    graph = GraphBuilder(3)
    first = silu(graph, graph.conv("x", "a.conv/Conv", (8, 3, 1, 1)), "a.act")
    second = silu(graph, graph.conv(first, "b.conv/Conv", (8, 8, 1, 1)), "b.act")
    joined = graph.node("Concat", [first, second], "c/Concat", axis=1)
    logits = graph.conv(joined, "head/Conv", (4, 16, 1, 1))
    flat = graph.constant("flat", np.array([1, 4, 49]))
    shaped = graph.node("Reshape", [logits, flat], "head/Reshape")
    graph.node("Sigmoid", [shaped], "head/Sigmoid")
    return graph


def test_everything_up_to_the_last_convolution_is_in_8_bits():
    """Scores are not: their sigmoid stays in float, and so does what shapes them."""
    places = find_places(network().build("head/Sigmoid"))

    assert set(places.nodes) == {
        "a.conv/Conv",
        "a.act/Sigmoid",
        "a.act/Mul",
        "b.conv/Conv",
        "b.act/Sigmoid",
        "b.act/Mul",
        "c/Concat",
        "head/Conv",
    }
    assert places.in_float == ()
    assert places.with_them["a.conv"] == ("a.conv/Conv", "a.act/Sigmoid", "a.act/Mul")


def test_a_layer_that_stays_in_float_takes_its_activation_with_it():
    """The join behind it still is in 8 bits, since its other half is."""
    places = find_places(network().build("head/Sigmoid"), ["a.conv", "no such layer"])

    assert places.in_float == ("a.conv",)
    assert not {"a.conv/Conv", "a.act/Sigmoid", "a.act/Mul"} & set(places.nodes)
    assert "c/Concat" in places.nodes
    assert set(places.convolutions) == {"b.conv", "head"}


def test_an_activation_is_known_through_what_only_shapes():
    """The range before it can leave out what it makes equal."""
    places = find_places(network().build("head/Sigmoid"))

    assert places.activations == {
        "a.conv/Conv": "silu",
        "b.conv/Conv": "silu",
        "head/Conv": "sigmoid",
    }


def test_what_is_read_elsewhere_too_has_no_activation():
    """A value that is an output of the graph is needed as it is."""
    places = find_places(network().build("head/Sigmoid", "a.conv/Conv"))

    assert "a.conv/Conv" not in places.activations


def test_what_is_joined_has_one_scale():
    """All inputs and the output of the join; chains of joins hang together."""
    graph = network()
    extra = graph.node("MaxPool", ["c/Concat"], "d/MaxPool", kernel_shape=[1, 1])
    graph.conv(extra, "e/Conv", (4, 16, 1, 1))
    places = find_places(graph.build("head/Sigmoid", "e/Conv"))

    (group,) = places.joined
    assert set(group) == {"a.act/Mul", "b.act/Mul", "c/Concat", "d/MaxPool"}


def clipped(graph: GraphBuilder, value: str, layer: str, floor: float) -> str:
    """Add max(value, floor)."""
    least = graph.constant(f"{layer}.floor", np.float32(floor))
    return graph.node("Clip", [value, least], f"{layer}/Clip")


def test_what_was_clipped_shares_no_scale_with_what_was_not():
    """In a wider range the least step would clip no more."""
    graph = GraphBuilder(3)
    first = clipped(graph, graph.conv("x", "a.conv/Conv", (8, 3, 1, 1)), "a.act", -0.2)
    pooled = graph.node("MaxPool", [first], "p/MaxPool", kernel_shape=[1, 1])
    second = silu(graph, graph.conv(first, "b.conv/Conv", (8, 8, 1, 1)), "b.act")
    joined = graph.node("Concat", [pooled, second], "c/Concat", axis=1)
    graph.conv(joined, "head/Conv", (4, 16, 1, 1))

    places = find_places(graph.build("head/Conv"))

    assert {"a.act/Clip", "p/MaxPool", "c/Concat"} <= set(places.nodes)
    assert sorted(map(sorted, places.joined)) == [
        ["a.act/Clip", "p/MaxPool"],
        ["b.act/Mul", "c/Concat"],
    ]


def test_what_was_clipped_alike_has_one_scale():
    """As where a ReLU follows every convolution."""
    graph = GraphBuilder(3)
    parts = [
        clipped(graph, graph.conv("x", f"{name}.conv/Conv", (8, 3, 1, 1)), f"{name}.act", -0.2)
        for name in "ab"
    ]
    graph.conv(graph.node("Concat", parts, "c/Concat", axis=1), "head/Conv", (4, 16, 1, 1))

    (group,) = find_places(graph.build("head/Conv")).joined

    assert set(group) == {"a.act/Clip", "b.act/Clip", "c/Concat"}


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (3, 3, 1, 1)])
def test_a_decoder_is_no_layer(shape):
    """A convolution that only weighs a few numbers gains nothing and loses exactness."""
    graph = GraphBuilder(3)
    graph.conv("x", "dfl/Conv", shape)

    assert find_places(graph.build("dfl/Conv")).convolutions == {}


def test_a_scale_by_constants_stays_in_float():
    """8 bits for a scale of each channel would be too coarse; the convolutions are not."""
    graph = GraphBuilder(3)
    scaled = graph.per_channel("Mul", graph.conv("x", "a/Conv", (8, 3, 1, 1)), "b/Mul", 8)
    graph.conv(scaled, "c/Conv", (8, 8, 1, 1))

    assert find_places(graph.build("c/Conv")).nodes == ("a/Conv", "c/Conv")


@pytest.mark.parametrize(
    ("node", "layer"), [("model.0.conv/Conv_1", "model.0.conv"), ("Conv", "Conv")]
)
def test_a_layer_is_what_stands_before_the_operator(node, layer):
    """Names come from the exporter."""
    assert layer_of(node) == layer
