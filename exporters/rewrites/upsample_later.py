"""Before a 1x1 convolution, pixels are repeated in vain: let it see the small map instead.

A nearest-neighbour Resize repeats each pixel, and a 1x1 convolution treats each pixel alone,
so they may change places. In YOLO's neck the Resize stands behind a Concat: the convolution
is then the sum of one for the small map, repeated afterwards, and one for all other parts,
which onnxruntime adds up inside the convolution. A quarter of the multiplications is left for
those channels (half of the first convolution of two of YOLOv8's C2f blocks), and there are
fewer channels to repeat and to concatenate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir

from exporters.passes.convolution import Convolution, only_reader, read_convolution
from exporters.rewrites.edit import (
    Editor,
    array_of,
    is_plain,
    path_of,
    remove_unread,
    replace_output,
    static_shape,
)


@dataclass(frozen=True)
class _Place:
    """A Resize that reaches a convolution as input `index` of a Concat."""

    resize: ir.Node
    concat: ir.Node
    index: int
    reader: Convolution


def find_upsample(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first repeated map that a 1x1 convolution reads, or None."""
    for node in model.graph:
        if not is_plain(node, "Concat") or node.attributes.get_int("axis") != 1:
            continue
        readers = [read_convolution(use.node) for use in node.outputs[0].uses()]
        if not readers or node.outputs[0].is_graph_output():
            continue
        if not all(reader is not None and reader.is_per_pixel for reader in readers):
            continue
        if any(static_shape(value) is None for value in (*node.inputs, *node.outputs)):
            continue
        if len(readers) > 1 and len(node.inputs) > 2:
            continue  # what stays joined would be joined for each of them
        for index, value in enumerate(node.inputs):
            resize = None if value is None else value.producer()
            if _repeats_pixels(resize) and only_reader(value) is node:
                assert resize is not None
                assert readers[0] is not None
                return partial(_swap, model, _Place(resize, node, index, readers[0]))
    return None


def _repeats_pixels(node: ir.Node | None) -> bool:
    """Whether each pixel becomes a rectangle of whole numbers of pixels, nothing else."""
    if not is_plain(node, "Resize"):
        return False
    assert node is not None
    attributes = node.attributes
    words = {
        "mode": ("nearest", "nearest"),
        "coordinate_transformation_mode": ("half_pixel", "asymmetric"),
        "nearest_mode": ("round_prefer_floor", "floor"),
    }
    if any(attributes.get_string(n, default) != word for n, (default, word) in words.items()):
        return False
    before, after = static_shape(node.inputs[0]), static_shape(node.outputs[0])
    # By scales alone: sizes would bring policies of aspect ratios with them.
    scales = array_of(node.inputs[2]) if len(node.inputs) == 3 else None
    if before is None or after is None or scales is None or len(before) != 4:
        return False
    whole = scales.shape == (4,) and (scales == scales.round()).all() and (scales >= 1).all()
    return bool(
        whole
        and "axes" not in attributes
        and scales[:2].tolist() == [1, 1]
        and [int(s * n) for s, n in zip(scales, before, strict=True)] == list(after)
    )


def _swap(model: ir.Model, place: _Place) -> None:
    reader, resize, concat = place.reader, place.resize, place.concat
    small, answer = resize.inputs[0], reader.node.outputs[0]
    small_shape, shape = static_shape(small), static_shape(answer)
    assert small_shape is not None
    inputs = list(concat.inputs)
    shapes = [static_shape(value) for value in inputs]
    widths = [value[1] for value in shapes if value]
    weights = np.split(reader.weight, np.cumsum(widths)[:-1], axis=1)
    mine = weights.pop(place.index)
    del inputs[place.index]
    edit = Editor(model, reader.node)
    out = reader.shape[0]
    low = edit.node(
        "Conv",
        [small, edit.constant("weight", mine)],
        (small_shape[0], out, *small_shape[2:]),
        kernel_shape=[1, 1],
    )
    repeat = Editor(model, reader.node, path_of(resize))
    raised = repeat.node(
        "Resize",
        [low, *resize.inputs[1:]],
        shape,
        **{name: attribute.value for name, attribute in resize.attributes.items()},
    )
    rest = inputs[0]
    if len(inputs) > 1:
        first = static_shape(inputs[0])
        assert first is not None
        joined = Editor(model, reader.node, path_of(concat))
        rest = joined.node(
            "Concat", inputs, (first[0], sum(widths) - mine.shape[1], *first[2:]), axis=1
        )
    high = edit.node(
        "Conv",
        [
            rest,
            edit.constant("weight", np.concatenate(weights, axis=1)),
            edit.constant("bias", reader.bias),
        ],
        shape,
        kernel_shape=[1, 1],
    )
    total = edit.node("Add", [high, raised], shape)
    replace_output(model, answer, total)
    remove_unread(model, reader.node)
