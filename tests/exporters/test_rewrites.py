"""Each rewrite on small graphs: what it makes of them, what it leaves alone, equal outputs."""

from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import helper

from exporters.rewrites import REWRITES, run_rewrites, winograd
from exporters.rewrites.boxes_where_found import neighbours
from exporters.rewrites.cook_toom import RESULTS, fast_filter
from tests.exporters.graphs import GraphBuilder, kinds, run

pytestmark = pytest.mark.needs_torch


def image(channels: int, size: tuple[int, int] = (7, 7)) -> np.ndarray:
    """Return noise, (1, channels, height, width)."""
    return np.random.default_rng(5).standard_normal((1, channels, *size)).astype(np.float32)


def same(before: onnx.ModelProto, after: onnx.ModelProto, picture: np.ndarray) -> None:
    """Assert that two graphs answer alike, up to float32 rounding."""
    first, second = run(before, picture), run(after, picture)
    assert len(first) == len(second)
    for expected, actual in zip(first, second, strict=True):
        np.testing.assert_allclose(
            actual, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max()
        )


def silu(graph: GraphBuilder, value: str) -> str:
    """Add value · sigmoid(value)."""
    gate = graph.node("Sigmoid", [value], f"{value}.gate")
    return graph.node("Mul", [value, gate], f"{value}.act")


def split(graph: GraphBuilder, value: str, sizes: list[int], **attributes) -> list[str]:
    """Add a Split along the channels and return its outputs."""
    names = [f"part{index}" for index in range(len(sizes))]
    inputs = [value, graph.constant("sizes", np.array(sizes))]
    graph.node("Split", inputs, names, axis=1, **attributes)
    return names


@pytest.mark.parametrize("activated", [False, True])
def test_a_split_becomes_one_convolution_for_each_part(activated):
    """With SiLU in between or without: the same numbers, to the last bit."""
    graph = GraphBuilder(5)
    value = graph.conv("x", "a/Conv", (48, 5, 3, 3), pads=[1, 1, 1, 1])
    value = silu(graph, value) if activated else value
    before = graph.build(*split(graph, value, [16, 32]))

    after, counts = run_rewrites(before, ["split_convolution"])

    assert counts == {"split_convolution": 1}
    assert "Split" not in kinds(after)
    assert kinds(after).count("Conv") == 2
    assert [v.name for v in after.graph.output] == ["part0", "part1"]
    for expected, actual in zip(run(before, image(5)), run(after, image(5)), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_a_part_that_nobody_reads_is_not_computed():
    """Pruning leaves such parts."""
    graph = GraphBuilder(5)
    parts = split(graph, graph.conv("x", "a/Conv", (32, 5, 1, 1)), [16, 16])
    before = graph.build(parts[1])

    after, _ = run_rewrites(before, ["split_convolution"])

    assert kinds(after) == ["Conv"]
    same(before, after, image(5))


def other_reader(graph: GraphBuilder) -> list[str]:
    """Let something else read the whole as well."""
    whole = graph.conv("x", "a/Conv", (32, 5, 1, 1))
    return [*split(graph, whole, [16, 16]), graph.node("Relu", [whole], "whole")]


def odd_widths(graph: GraphBuilder) -> list[str]:
    """Two parts that fill more blocks of 16 channels than the whole."""
    return split(graph, graph.conv("x", "a/Conv", (16, 5, 1, 1)), [8, 8])


def grouped(graph: GraphBuilder) -> list[str]:
    """A convolution whose channels do not all see the same input."""
    return split(graph, graph.conv("x", "a/Conv", (40, 1, 1, 1), group=5), [16, 24])


def no_convolution(graph: GraphBuilder) -> list[str]:
    """Something else than a convolution."""
    wide = graph.conv("x", "a/Conv", (32, 5, 1, 1))
    return split(graph, graph.node("Relu", [wide], "relu"), [16, 16])


@pytest.mark.parametrize("build", [other_reader, odd_widths, grouped, no_convolution])
def test_other_splits_stay(build):
    """What is not as expected is left alone."""
    graph = GraphBuilder(5)
    before = graph.build(*build(graph))

    after, counts = run_rewrites(before, ["split_convolution"])

    assert counts == {}
    assert kinds(after) == kinds(before)


def neck(mode: str = "nearest", readers: int = 1, kernel: int = 1) -> onnx.ModelProto:
    """A small map is repeated, joined with the large one, and convolved."""
    graph = GraphBuilder(6, size=(8, 12))
    small = graph.conv("x", "small/Conv", (10, 6, 2, 2), strides=[2, 2])
    rounding = {"nearest_mode": "floor"} if mode == "nearest" else {}
    scales = graph.constant("scales", np.array([1, 1, 2, 2], np.float32))
    repeated = graph.node(
        "Resize",
        [small, "", scales],
        "up/Resize",
        mode=mode,
        coordinate_transformation_mode="asymmetric",
        **rounding,
    )
    joined = graph.node("Concat", [repeated, "x"], "join/Concat", axis=1)
    pads = [kernel // 2] * 4
    outputs = [
        graph.conv(joined, f"out{n}/Conv", (7, 16, kernel, kernel), pads=pads)
        for n in range(readers)
    ]
    return graph.build(*outputs)


@pytest.mark.parametrize("readers", [1, 2])
def test_a_pointwise_convolution_sees_the_small_map(readers):
    """Convolved before it is repeated; what is joined no more needs no Concat."""
    before = neck(readers=readers)

    after, counts = run_rewrites(before, ["upsample_later"])

    assert counts == {"upsample_later": readers}
    assert kinds(after).count("Resize") == readers
    assert "Concat" not in kinds(after)
    same(before, after, image(6, (8, 12)))


@pytest.mark.parametrize("changes", [{"mode": "linear"}, {"kernel": 3}])
def test_other_resizes_stay(changes):
    """Pixels that are mixed, by the Resize or by the convolution, do not change places."""
    before = neck(**changes)

    _, counts = run_rewrites(before, ["upsample_later"])

    assert counts == {}


def decoder(bins: int = 16, anchors: int = 20, perm: tuple[int, ...] = (0, 2, 1, 3)):
    """The box decoder as the exporter writes it, on (1, 4 · bins, 4, 5)."""
    graph = GraphBuilder(4 * bins, size=(4, anchors // 4))
    shapes = {"spread": [1, 4, bins, anchors], "flat": [1, 4, anchors]}
    for name, shape in {"all": [1, 4 * bins, anchors], **shapes}.items():
        graph.constant(name, np.array(shape))
    logits = graph.node("Reshape", ["x", "all"], "a/Reshape")
    spread = graph.node("Reshape", [logits, "spread"], "dfl/Reshape")
    moved = graph.node("Transpose", [spread], "dfl/Transpose", perm=perm)
    shares = graph.node("Softmax", [moved], "dfl/Softmax", axis=1)
    graph.constant("bins", np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1))
    mean = graph.node("Conv", [shares, "bins"], "dfl/Conv")
    return graph.build(graph.node("Reshape", [mean, "flat"], "out"))


@pytest.mark.parametrize("scale", [1.0, 60.0])
@pytest.mark.parametrize("bins", [16, 5])
def test_bins_are_weighed_on_one_axis(bins, scale):
    """Also where exp of a bin alone would overflow."""
    before = decoder(bins)

    after, counts = run_rewrites(before, ["weigh_bins"])

    assert counts == {"weigh_bins": 1}
    assert not {"Softmax", "Transpose", "Conv"} & set(kinds(after))
    same(before, after, image(4 * bins, (4, 5)) * np.float32(scale))


def convolution(channels: int, out: int, size: tuple[int, int], **attributes):
    """A single 3x3 convolution."""
    graph = GraphBuilder(channels, size=size)
    options = {"pads": [1, 1, 1, 1], **attributes}
    per_group = channels // options.get("group", 1)
    return graph.build(graph.conv("x", "a/Conv", (out, per_group, 3, 3), **options))


@pytest.mark.parametrize("height", [40, 33, 12, 10, 8, 5, 4])
def test_a_large_convolution_becomes_a_fast_filter(height, monkeypatch):
    """Heights that are a multiple of 4, 5 or 6 rows, and such that are none."""
    monkeypatch.setattr(winograd, "SMALL", 1)
    before = convolution(32, 48, (height, 9))

    after, counts = run_rewrites(before, ["winograd_small"])

    assert counts == {"winograd_small": 1}
    assert all(
        list(helper.get_node_attr_value(node, "kernel_shape")) != [3, 3]
        for node in after.graph.node
        if node.op_type == "Conv"
    )
    same(before, after, image(32, (height, 9)))


def test_two_convolutions_share_the_sums_of_their_rows():
    """Both branches of a head read the same map."""
    graph = GraphBuilder(32, size=(40, 40))
    ends = [graph.conv("x", f"{name}/Conv", (32, 32, 3, 3), pads=[1, 1, 1, 1]) for name in "ab"]
    before = graph.build(*ends)

    after, counts = run_rewrites(before, ["winograd_small"])

    assert counts == {"winograd_small": 2}
    assert kinds(after).count("Concat") == 1
    same(before, after, image(32, (40, 40)))


def test_sums_move_forward_to_a_convolution_before_them():
    """The larger one is exchanged first, though the smaller one comes before it."""
    graph = GraphBuilder(32, size=(40, 40))
    small = graph.conv("x", "a/Conv", (32, 32, 3, 3), pads=[1, 1, 1, 1])
    large = graph.conv("x", "b/Conv", (64, 32, 3, 3), pads=[1, 1, 1, 1])
    before = graph.build(small, large)

    after, counts = run_rewrites(before, ["winograd_large", "winograd_small"])

    assert counts == {"winograd_large": 1, "winograd_small": 1}
    assert kinds(after).count("Concat") == 1
    same(before, after, image(32, (40, 40)))


@pytest.mark.parametrize(
    "changes",
    [
        {"strides": [2, 2]},
        {"dilations": [2, 2], "pads": [2, 2, 2, 2]},
        {"group": 2},
        {"pads": [0, 1, 0, 1]},
    ],
)
def test_other_convolutions_stay(changes):
    """Strides, dilations, groups, other padding."""
    before = convolution(64, 64, (40, 40), **changes)

    _, counts = run_rewrites(before, REWRITES)

    assert counts == {}


@pytest.mark.parametrize("results", RESULTS)
def test_a_fast_filter_gives_what_the_plain_one_gives(results):
    """In float64, against the sum of products by its definition."""
    fast = fast_filter(results)
    random = np.random.default_rng(0)
    data, taps = random.standard_normal(results + 2), random.standard_normal(3)

    products = (fast.filter @ taps) * (fast.input @ data)

    expected = [sum(data[i + j] * taps[j] for j in range(3)) for i in range(results)]
    np.testing.assert_allclose(fast.output @ products, expected, atol=1e-12)
    assert (fast.output[:, fast.once] == 1).all()
    assert len(products) == results + 2
    assert Fraction(fast.terms, 3 * results) <= Fraction(1, 2)


def test_neighbours_are_those_of_the_map():
    """Row by row around each pixel; what is beyond the map is the number after the last."""
    table = neighbours(2, 3)

    assert table[0].tolist() == [6, 6, 6, 6, 0, 1, 6, 3, 4]
    assert table[4].tolist() == [0, 1, 2, 3, 4, 5, 6, 6, 6]


def test_an_older_opset_is_left_alone():
    """ReduceMax took its axes as an attribute before opset 18."""
    before = decoder()
    before.opset_import[0].version = 13

    _, counts = run_rewrites(before, ["weigh_bins", "boxes_where_found"])

    assert counts == {}


def test_the_graph_given_is_not_changed():
    """A rewritten graph is a new one, also with nothing to do."""
    before = neck()
    content = before.SerializeToString()

    run_rewrites(before, REWRITES)
    run_rewrites(before, [])

    assert before.SerializeToString() == content
