"""A maximum with one number becomes a clip; no other one does."""

import numpy as np
import pytest

from tests.exporters.graphs import GraphBuilder, kinds, rewritten

pytestmark = pytest.mark.needs_torch


@pytest.mark.parametrize("number_first", [False, True])
def test_a_maximum_with_a_number_is_a_clip(number_first):
    """Runtimes fuse a Clip with the convolution before it, and a Max not."""
    graph = GraphBuilder(4)
    inputs = [graph.conv("x", "a", (4, 4, 1, 1)), graph.constant("f", np.float32(-0.2))]
    graph.node("Max", inputs[::-1] if number_first else inputs, "act/Max_1")

    after, counts = rewritten(graph.build("act/Max_1"))

    assert kinds(after) == ["Conv", "Clip"]
    assert counts == {"max_to_clip": 1}
    assert after.graph.node[1].name == "act/Clip_1"


def test_other_maxima_stay():
    """Of two values, of three, and with a number for each channel."""
    graph = GraphBuilder(4)
    one, other = graph.conv("x", "a", (4, 4, 1, 1)), graph.conv("x", "b", (4, 4, 1, 1))
    graph.node("Max", [one, other], "c")
    graph.node("Max", [one, other, graph.constant("f", np.float32(0))], "d")
    graph.node("Max", [one, graph.constant("g", np.zeros((4, 1, 1), np.float32))], "e")

    after, counts = rewritten(graph.build("c", "d", "e"))

    assert counts == {}
    assert kinds(after).count("Max") == 3


def test_a_clip_that_has_the_name_keeps_it():
    """onnxruntime refuses a graph in which two nodes have one name."""
    graph = GraphBuilder(4)
    data, floor = graph.conv("x", "a", (4, 4, 1, 1)), graph.constant("f", np.float32(-0.2))
    graph.node("Clip", [data, floor], "act/Clip")
    graph.node("Max", [data, floor], "act/Max")
    graph.node("Max", ["act/Clip", floor], "act/Max_1")

    after, counts = rewritten(graph.build("act/Max", "act/Max_1"))

    assert counts == {"max_to_clip": 2}
    names = [node.name for node in after.graph.node if node.op_type == "Clip"]
    assert len(set(names)) == len(names) == 3
    assert "act/Clip" in names
