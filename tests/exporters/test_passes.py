"""Each rewrite keeps what a graph computes, and leaves alone what it may not change."""

import numpy as np
import pytest

from exporters.passes import PASSES
from tests.exporters.graphs import SIDE, GraphBuilder, kinds, rewritten

pytestmark = pytest.mark.needs_torch


def test_a_pointwise_convolution_merges_into_an_unpadded_one():
    """1x1 before 3x3 without padding: one convolution, whatever the biases are."""
    graph = GraphBuilder(6)
    graph.conv(graph.conv("x", "a", (6, 6, 1, 1)), "b", (4, 6, 3, 3), strides=[2, 2])

    after, counts = rewritten(graph.build("b"))

    assert kinds(after) == ["Conv"]
    assert counts == {"merge_convolutions": 1}


def test_a_pointwise_convolution_without_bias_merges_into_a_padded_one():
    """Zeros around the input stay zeros without a bias, so padding does not matter."""
    graph = GraphBuilder(6)
    graph.conv(graph.conv("x", "a", (6, 6, 1, 1), bias=False), "b", (4, 6, 3, 3), pads=[1] * 4)

    after, _ = rewritten(graph.build("b"))

    assert kinds(after) == ["Conv"]


@pytest.mark.parametrize("padding", [{"pads": [1] * 4}, {"auto_pad": "SAME_UPPER"}])
def test_a_bias_before_a_padded_convolution_stays(padding):
    """The padded border would see zeros and not the bias."""
    graph = GraphBuilder(6)
    graph.conv(graph.conv("x", "a", (6, 6, 1, 1)), "b", (4, 6, 3, 3), **padding)

    after, counts = rewritten(graph.build("b"))

    assert kinds(after) == ["Conv", "Conv"]
    assert counts == {}


def test_a_convolution_read_twice_stays():
    """Somebody else needs what the first convolution computes."""
    graph = GraphBuilder(6)
    first = graph.conv("x", "a", (6, 6, 1, 1))
    graph.conv(first, "b", (4, 6, 3, 3))
    graph.node("Relu", [first], "c")

    after, counts = rewritten(graph.build("b", "c"))

    assert counts == {}
    assert kinds(after).count("Conv") == 2


def test_an_output_of_the_graph_stays():
    """What the graph returns cannot be merged away."""
    graph = GraphBuilder(6)
    graph.conv(graph.conv("x", "a", (6, 6, 1, 1)), "b", (4, 6, 3, 3))

    _, counts = rewritten(graph.build("a", "b"))

    assert counts == {}


def test_a_pointwise_convolution_after_any_other_merges():
    """The merged one has the window, padding, stride and dilation of the first."""
    graph = GraphBuilder(6)
    window = {"pads": [2, 1, 2, 1], "dilations": [2, 1], "strides": [1, 2]}
    graph.conv(graph.conv("x", "a", (8, 6, 3, 3), **window), "b", (4, 8, 1, 1), strides=[2, 1])

    after, _ = rewritten(graph.build("b"))

    assert kinds(after) == ["Conv"]
    assert after.graph.node[0].output[0] == "b"


def test_a_chain_of_convolutions_becomes_one():
    """Merging goes on until nothing is left to merge."""
    graph = GraphBuilder(4)
    source = "x"
    for name in ("a", "b", "c"):
        source = graph.conv(source, name, (4, 4, 1, 1))
    graph.conv(source, "d", (4, 4, 3, 3))

    after, counts = rewritten(graph.build("d"))

    assert kinds(after) == ["Conv"]
    assert counts == {"merge_convolutions": 3}


def test_a_bottleneck_of_channels_is_not_merged():
    """Wide to narrow to wide costs less in two steps than in one."""
    graph = GraphBuilder(32)
    graph.conv(graph.conv("x", "a", (2, 32, 1, 1)), "b", (32, 2, 1, 1))

    _, counts = rewritten(graph.build("b"))

    assert counts == {}


def test_a_convolution_in_groups_is_not_merged():
    """A merged depthwise convolution would be a full one."""
    graph = GraphBuilder(6)
    graph.conv(graph.conv("x", "a", (6, 6, 1, 1)), "b", (6, 1, 3, 3), group=6)

    _, counts = rewritten(graph.build("b"))

    assert counts == {}


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_scale_and_shift_fold_into_the_convolution_before(groups):
    """Exact for any padding and any groups."""
    graph = GraphBuilder(6)
    source = graph.conv(
        "x", "a", (6, 6 // groups, 3, 3), pads=[1] * 4, group=groups, bias=False
    )
    graph.node("Relu", [_affine(graph, source)], "out")

    after, counts = rewritten(graph.build("out"))

    assert kinds(after) == ["Conv", "Relu"]
    assert counts == {"fold_affine": 2}


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_scale_and_shift_fold_into_an_unpadded_convolution_after(groups):
    """Each output channel sees the scales of its own group only."""
    graph = GraphBuilder(6)
    graph.conv(_affine(graph, "x"), "a", (6, 6 // groups, 3, 3), group=groups)

    after, _ = rewritten(graph.build("a"))

    assert kinds(after) == ["Conv"]


def test_a_shift_before_a_padded_convolution_stays():
    """A scale folds, a shift does not: the border has none."""
    graph = GraphBuilder(6)
    shifted = graph.per_channel("Add", "x", "shift", 6)
    graph.conv(graph.per_channel("Mul", shifted, "scale", 6), "a", (6, 6, 3, 3), pads=[1] * 4)

    after, counts = rewritten(graph.build("a"))

    assert kinds(after) == ["Add", "Conv"]
    assert counts == {"fold_affine": 1}


def test_a_shift_that_differs_by_pixel_stays():
    """Only constants of a whole channel are folded."""
    graph = GraphBuilder(6)
    values = graph.random.standard_normal((1, 1, SIDE, SIDE)).astype(np.float32)
    graph.conv(graph.node("Add", ["x", graph.constant("v", values)], "s"), "a", (6, 6, 1, 1))

    _, counts = rewritten(graph.build("a"))

    assert counts == {}


def test_a_scale_that_widens_its_input_stays():
    """One channel times six scales is six channels: no scale of each channel."""
    graph = GraphBuilder(1)
    graph.conv(graph.per_channel("Mul", "x", "scale", 6), "a", (6, 6, 1, 1))

    _, counts = rewritten(graph.build("a"))

    assert counts == {}


def test_ones_and_zeros_go_away():
    """A scale by ones and a shift by zeros do nothing."""
    graph = GraphBuilder(3)
    one = graph.constant("one", np.ones((1, 3, 1, 1), np.float32))
    zero = graph.constant("zero", np.zeros((3, 1, 1), np.float32))
    scaled = graph.node("Mul", [one, graph.node("Relu", ["x"], "r")], "m")
    graph.node("Relu", [graph.node("Add", [scaled, zero], "a")], "out")

    after, _ = rewritten(graph.build("out"))

    assert kinds(after) == ["Relu", "Relu"]


def _affine(graph, source):
    return graph.per_channel("Add", graph.per_channel("Mul", source, "scale", 6), "shift", 6)


def c2f(substitutes, *, padded=False):
    """Return a C2f block: split, one part through each substitute in turn, join, convolve.

    A substitute is "linear", "affine", "identity", "zero", or "conv" for a real one.
    """
    graph = GraphBuilder(8)
    stem = graph.node("Relu", [graph.conv("x", "stem", (8, 8, 1, 1))], "stem_act")
    sizes = graph.constant("sizes", np.array([4, 4]))
    graph.node("Split", [stem, sizes], ["left", "right"], axis=1)
    parts = ["left", "right"]
    for index, substitute in enumerate(substitutes):
        name, source = f"m{index}", parts[-1]
        if substitute == "linear":
            parts.append(graph.conv(source, name, (4, 4, 1, 1)))
        elif substitute == "affine":
            scaled = graph.per_channel("Mul", source, f"{name}_scale", 4)
            parts.append(graph.per_channel("Add", scaled, name, 4))
        elif substitute == "identity":
            parts.append(source)
        elif substitute == "zero":
            parts.append(graph.constant(name, np.zeros((1, 4, SIDE, SIDE), np.float32)))
        else:
            convolved = graph.conv(source, f"{name}_conv", (4, 4, 3, 3), pads=[1] * 4)
            parts.append(graph.node("Relu", [convolved], name))
    joined = graph.node("Concat", parts, "join", axis=1)
    shape = (8, 4 * len(parts), 3, 3) if padded else (8, 4 * len(parts), 1, 1)
    graph.conv(joined, "out", shape, pads=[1] * 4 if padded else [0] * 4)
    return graph.build("out")


@pytest.mark.parametrize(
    "substitutes",
    [
        ["linear"],
        ["affine"],
        ["identity"],
        ["zero"],
        ["linear", "linear"],
        ["affine", "linear"],
        ["identity", "linear", "affine"],
    ],
)
def test_a_block_of_substitutes_costs_one_convolution(substitutes):
    """Parts, Concat and Split all go; the last convolution has eight input channels again."""
    after, _ = rewritten(c2f(substitutes))

    assert kinds(after) == ["Conv", "Relu", "Conv"]


@pytest.mark.parametrize("substitute", ["linear", "affine", "identity"])
def test_a_substitute_after_a_real_layer_costs_nothing(substitute):
    """It is merged into the weights of the part that it is made of."""
    after, counts = rewritten(c2f(["conv", substitute]))

    join = next(node for node in after.graph.node if node.op_type == "Concat")
    assert list(join.input) == ["left", "right", "m0"]
    assert counts["merge_into_concat"] >= 1


def test_a_substitute_that_a_real_layer_reads_leaves_the_concat():
    """It must be computed, but the last convolution needs no channels for it."""
    after, _ = rewritten(c2f(["linear", "conv"]))

    join = next(node for node in after.graph.node if node.op_type == "Concat")
    assert list(join.input) == ["left", "right", "m1"]
    assert kinds(after).count("Conv") == 4


def test_a_bias_is_not_merged_through_a_concat_into_a_padded_convolution():
    """The border again: the part stays as it is."""
    after, counts = rewritten(c2f(["linear"], padded=True))

    assert counts == {}
    assert "Concat" in kinds(after)


def test_a_part_that_comes_twice_merges_even_into_a_padded_convolution():
    """No bias is involved."""
    after, _ = rewritten(c2f(["identity"], padded=True))

    assert kinds(after) == ["Conv", "Relu", "Conv"]


def test_a_concat_that_is_read_twice_stays():
    """Its channels are needed as they are."""
    graph = GraphBuilder(4)
    joined = graph.node("Concat", ["x", graph.conv("x", "a", (4, 4, 1, 1))], "join", axis=1)
    graph.conv(joined, "b", (4, 8, 1, 1))
    graph.node("Relu", [joined], "c")

    _, counts = rewritten(graph.build("b", "c"))

    assert counts == {}


def test_a_part_from_elsewhere_is_replaced_by_its_source():
    """A 1x1 convolution that only feeds the Concat is merged, its input joined instead."""
    graph = GraphBuilder(4)
    other = graph.node("Relu", ["x"], "other")
    joined = graph.node("Concat", [graph.conv("x", "a", (4, 4, 1, 1)), other], "join", axis=1)
    graph.conv(joined, "b", (4, 8, 1, 1))

    after, _ = rewritten(graph.build("b"))

    assert kinds(after) == ["Relu", "Concat", "Conv"]


def test_a_part_that_narrows_its_source_is_not_replaced():
    """Joining its many input channels would cost more."""
    graph = GraphBuilder(32)
    other = graph.node("Relu", ["x"], "other")
    joined = graph.node("Concat", [graph.conv("x", "a", (2, 32, 1, 1)), other], "join", axis=1)
    graph.conv(joined, "b", (16, 34, 1, 1))

    _, counts = rewritten(graph.build("b"))

    assert counts == {}


@pytest.mark.parametrize(
    ("order", "dropped"), [(["p", "q"], True), (["q", "p"], False), (["p", "p"], False)]
)
def test_a_split_is_undone_only_by_its_parts_in_order(order, dropped):
    """Swapped or repeated parts are another tensor."""
    graph = GraphBuilder(4)
    graph.node("Split", [graph.node("Relu", ["x"], "r")], ["p", "q"], axis=1, num_outputs=2)
    graph.node("Relu", [graph.node("Concat", order, "join", axis=1)], "out")

    _, counts = rewritten(graph.build("out"))

    assert counts == ({"drop_split_concat": 1} if dropped else {})


def test_a_weight_that_another_node_reads_is_not_changed():
    """A shared weight is copied for the one that is merged."""
    graph = GraphBuilder(4)
    graph.conv(graph.per_channel("Mul", "x", "scale", 4), "a", (4, 4, 1, 1))
    graph.node("Conv", ["x", "a.weight", "a.bias"], "b", kernel_shape=[1, 1])

    after, _ = rewritten(graph.build("a", "b"))

    assert kinds(after) == ["Conv", "Conv"]


def test_old_operator_sets_are_left_alone():
    """Before opset 13 a Split is written otherwise, so no rewrite runs."""
    graph = GraphBuilder(4)
    graph.conv(graph.conv("x", "a", (4, 4, 1, 1)), "b", (4, 4, 1, 1))

    _, counts = rewritten(graph.build("b", opset=12))

    assert counts == {}


def test_all_rewrites_are_in_one_dictionary():
    """The names that the manifest gives to rewrites."""
    assert list(PASSES) == [
        "max_to_clip",
        "fold_affine",
        "merge_convolutions",
        "merge_into_concat",
        "drop_split_concat",
    ]
