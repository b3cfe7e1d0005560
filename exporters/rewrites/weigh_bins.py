"""The box decoder's softmax over 16 bins, and its mean, as one product with a matrix.

Each edge of a box is the mean of the bins 0 to 15 under a softmax. As exported the bins are
moved to the front, where onnxruntime moves them back to take 8,400 softmaxes of 16 numbers one
by one (4 % of YOLOv8n at 320 px), and the mean is a convolution. Here the bins stay where they
are: exp(x - max), then one matrix gives the weighted sum and the sum, and their quotient is
the mean. A tenth of the time, for the same numbers up to rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import onnx_ir as ir

from exporters.passes.convolution import Array, only_reader, read_convolution
from exporters.rewrites.edit import (
    Editor,
    is_plain,
    remove_unread,
    replace_output,
    static_shape,
)


@dataclass(frozen=True)
class Bins:
    """A softmax over bins and the mean of their values.

    Attributes:
        logits: (1, edges · bins, anchors), or (1, edges · bins, h, w) of a single level.
        mean: (1, edges, anchors), what the nodes give now.
        values: (bins,): what each bin stands for.
        edges: How many edges a box has: 4.
    """

    logits: ir.Value
    mean: ir.Value
    values: Array
    edges: int


def find_bins(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first decoder of this form, or None."""
    for node in model.graph:
        bins = read_bins(node)
        if bins is not None:
            return partial(_weigh, model, bins)
    return None


def read_bins(softmax: ir.Node) -> Bins | None:
    """Return the decoder that `softmax` belongs to, or None if it is another one.

    It must be Reshape (1, edges, bins, anchors), Transpose, Softmax, a 1x1 convolution without
    bias to one channel, Reshape (1, edges, anchors), and nothing else may read in between.
    """
    if not is_plain(softmax, "Softmax") or softmax.inputs[0] is None:
        return None
    transpose = softmax.inputs[0].producer()
    if not is_plain(transpose, "Transpose") or transpose is None or not transpose.inputs[0]:
        return None
    first = transpose.inputs[0].producer()
    convolution = read_convolution(only_reader(softmax.outputs[0]))
    last = None if convolution is None else only_reader(convolution.node.outputs[0])
    if not is_plain(first, "Reshape") or not is_plain(last, "Reshape"):
        return None
    assert first is not None
    assert last is not None
    assert convolution is not None
    before, spread = static_shape(first.inputs[0]), static_shape(first.outputs[0])
    after = static_shape(last.outputs[0])
    if before is None or spread is None or after is None or len(spread) != 4:
        return None
    _, edges, bins, anchors = spread
    fits = (
        before[:2] == (1, edges * bins)
        and prod(before[2:]) == anchors
        and after == (1, edges, anchors)
        and spread[0] == 1
        and list(transpose.attributes.get_ints("perm", [])) == [0, 2, 1, 3]
        and softmax.attributes.get_int("axis", -1) in (1, -3)
        and convolution.shape == (1, bins, 1, 1)
        and convolution.is_per_pixel
        and not convolution.bias.any()
        and only_reader(first.outputs[0]) is transpose
        and only_reader(transpose.outputs[0]) is softmax
    )
    if not fits or first.inputs[0] is None:
        return None
    return Bins(first.inputs[0], last.outputs[0], convolution.weight.reshape(-1), edges)


def mean_of_bins(edit: Editor, logits: ir.Value, bins: Bins, anchors: "int | str") -> ir.Value:
    """Insert what takes logits (1, edges · bins, anchors) to means (1, edges, anchors)."""
    edges, count = bins.edges, len(bins.values)
    side: int = anchors if isinstance(anchors, int) else -1
    spread_shape = (1, edges, count, anchors)
    spread = edit.node(
        "Reshape",
        [logits, edit.constant("spread", np.array([1, edges, count, side]))],
        spread_shape,
    )
    greatest = edit.node(
        "ReduceMax",
        [spread, edit.constant("axis", np.array([2]))],
        (1, edges, 1, anchors),
        keepdims=1,
    )
    lowered = edit.node("Sub", [spread, greatest], spread_shape)
    powers = edit.node("Exp", [lowered], spread_shape)
    matrix = edit.constant("values", np.stack([bins.values, np.ones(count)]))
    sums = edit.node("MatMul", [matrix, powers], (1, edges, 2, anchors))
    one = (1, edges, 1, anchors)
    weighted, total = edit.parts(sums, (one, one), axis=2)
    mean = edit.node("Div", [weighted, total], one)
    return edit.node(
        "Reshape",
        [mean, edit.constant("flat", np.array([1, edges, side]))],
        (1, edges, anchors),
    )


def _weigh(model: ir.Model, bins: Bins) -> None:
    last = bins.mean.producer()
    assert last is not None
    anchors = static_shape(bins.mean)
    assert anchors is not None
    mean = mean_of_bins(Editor(model, last), bins.logits, bins, anchors[2])
    replace_output(model, bins.mean, mean)
    remove_unread(model, last)
