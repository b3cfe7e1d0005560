"""Boxes are computed only for anchors that score above the least score in some class.

NMS looks at no other box, and on a picture most anchors are others (84 % of YOLOv8n's at
0.001). The last 3x3 convolution of the box branch alone is 6 % of YOLOv8n: where its
multiplications are many, its 3x3 patches are gathered at the chosen anchors and multiplied with
the weights as a matrix; what follows it is a matrix for each anchor anyway, and so is the
decoder. The boxes are then put back among all anchors, since gathering the scores as well costs
more than NMS saves by it. No detection can differ; how long it takes depends on the picture.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from exporters.passes.convolution import Convolution, only_reader, read_convolution
from exporters.rewrites.anchor_wise import Chosen, only_for, sources
from exporters.rewrites.edit import (
    Editor,
    array_of,
    is_plain,
    path_of,
    remove_unread,
    silu_input,
    static_shape,
)
from exporters.rewrites.levels import read_levels
from exporters.rewrites.straight_to_nms import find_detour

CANDIDATES = "candidates"
# Multiplications of a 3x3 convolution from which gathering its patches is worth the trouble.
LEAST_WORK = 8_000_000
_INT = ir.DataType.INT64
_INPUTS = 5  # of NonMaxSuppression: boxes, scores, most boxes, overlap, least score


@dataclass(frozen=True)
class Ending:
    """What leads to NMS.

    Attributes:
        transpose: Gives NMS its boxes, (1, anchors, 4), from the next one.
        boxes: (1, 4, anchors).
        scores: (1, classes, anchors).
        least: The least score, (1,).
        joined: (1, box channels, anchors): all levels of the box branch, not decoded yet.
        levels: The same level by level, (1, box channels, h, w).
    """

    transpose: ir.Node
    boxes: ir.Value
    scores: ir.Value
    least: ir.Value
    joined: ir.Value
    levels: list[ir.Value]


@dataclass(frozen=True)
class _Level:
    """A level (1, channels, h, w), its chosen anchors, and what shapes call their number."""

    value: ir.Value
    anchors: ir.Value
    name: str


def find_boxes(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for a graph that decodes all anchors and then does NMS, or None."""
    for node in model.graph:
        if is_plain(node, "NonMaxSuppression"):
            ending = read_ending(node)
            if ending is not None:
                return partial(_choose, model, ending)
            return find_detour(model)
    return None


def read_ending(suppression: ir.Node) -> Ending | None:
    """Return what leads to NMS, if all of it is as expected and costs enough to be spared."""
    if len(suppression.inputs) != _INPUTS or any(v is None for v in suppression.inputs):
        return None
    by_anchor, scores, _, _, least = suppression.inputs
    transpose = None if by_anchor is None else by_anchor.producer()
    if transpose is None or not is_plain(transpose, "Transpose") or scores is None:
        return None
    boxes = transpose.inputs[0]
    shape, score_shape = static_shape(boxes), static_shape(scores)
    if boxes is None or shape is None or score_shape is None or least is None:
        return None
    fits = (
        only_reader(boxes) is transpose
        and list(transpose.attributes.get_ints("perm", [])) == [0, 2, 1]
        and shape[:2] == (1, 4)
        and score_shape == (1, score_shape[1], shape[2])
        and array_of(least) is not None
    )
    origins = sources(boxes, shape[2]) if fits else set()
    if len(origins) != 1:
        return None
    joined = origins.pop()
    levels = read_levels(joined)
    if levels is None or not any(_patch_convolution(level) for level in levels):
        return None
    return Ending(transpose, boxes, scores, least, joined, levels)


def _patch_convolution(level: ir.Value) -> Convolution | None:
    """Return the large 3x3 convolution behind SiLU and the 1x1 one that gives a level."""
    last = read_convolution(level.producer())
    if last is None or not last.is_per_pixel:
        return None
    before = silu_input(last.node.inputs[0])
    if before is None or only_reader(last.node.inputs[0]) is not last.node:
        return None
    large = read_convolution(before.producer())
    if large is None or large.shape[2:] != (3, 3) or large.groups != 1:
        return None
    attributes, shape = large.node.attributes, static_shape(before)
    simple = (
        attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
        and list(attributes.get_ints("pads", [0, 0, 0, 0])) == [1, 1, 1, 1]
        and large.strides == (1, 1)
        and list(attributes.get_ints("dilations", [1, 1])) == [1, 1]
        and shape is not None
        and static_shape(large.node.inputs[0]) == (1, large.shape[1], *shape[2:])
    )
    if not simple or shape is None or prod(shape) * prod(large.shape[1:]) < LEAST_WORK:
        return None
    return large


def _choose(model: ir.Model, ending: Ending) -> None:
    edit = Editor(model, ending.transpose)
    shape, scores_shape = static_shape(ending.joined), static_shape(ending.scores)
    assert shape is not None
    assert scores_shape is not None
    counts = [prod((static_shape(level) or ())[2:]) for level in ending.levels]
    chosen = _chosen_by_level(edit, ending, counts)
    rows = [_rows_of_level(model, ending.transpose, level) for level in chosen]
    starts = np.cumsum([0, *counts[:-1]])
    shifted = [
        edit.node(
            "Add",
            [level.anchors, edit.constant("start", np.array(start))],
            (level.name,),
            dtype=_INT,
        )
        for level, start in zip(chosen, starts.tolist(), strict=True)
    ]
    anchors = edit.node("Concat", shifted, (CANDIDATES,), dtype=_INT, axis=0)
    logits = Editor(model, ending.transpose, path_of(_producer(ending.joined)))
    by_row = logits.node("Concat", rows, (CANDIDATES, shape[1]), axis=0)
    by_column = logits.node("Transpose", [by_row], (shape[1], CANDIDATES), perm=[1, 0])
    columns = logits.node(
        "Reshape",
        [by_column, logits.constant("columns", np.array([1, shape[1], -1]))],
        (1, shape[1], CANDIDATES),
    )
    choice = Chosen(model, ending.transpose, anchors, CANDIDATES, all_anchors=shape[2])
    boxes = only_for(choice, ending.boxes, {ending.joined: columns})
    everywhere = _put_back(edit, boxes, anchors, shape[2])
    ending.transpose.outputs[0].replace_all_uses_with(everywhere)
    remove_unread(model, ending.transpose)


def _chosen_by_level(edit: Editor, ending: Ending, counts: list[int]) -> list[_Level]:
    """Insert what gives each level's chosen anchors, counted from the level's first one."""
    total = sum(counts)
    best = edit.node(
        "ReduceMax",
        [ending.scores, edit.constant("classes", np.array([0, 1]))],
        (total,),
        keepdims=0,
    )
    found = edit.node("Greater", [best, ending.least], (total,), dtype=ir.DataType.BOOL)
    parts = edit.parts(found, [(count,) for count in counts], axis=0, dtype=ir.DataType.BOOL)
    flat = edit.constant("flat", np.array([-1]))
    chosen = []
    for number, (level, part) in enumerate(zip(ending.levels, parts, strict=True)):
        name = f"{CANDIDATES}_{number}"
        places = edit.node("NonZero", [part], (1, name), dtype=_INT)
        anchors = edit.node("Reshape", [places, flat], (name,), dtype=_INT)
        chosen.append(_Level(level, anchors, name))
    return chosen


def _rows_of_level(model: ir.Model, place: ir.Node, level: _Level) -> ir.Value:
    """Insert what gives (chosen, channels) of a level."""
    end = _producer(level.value)
    large = _patch_convolution(level.value)
    edit = Editor(model, place, path_of(end))
    if large is None:
        channels = (static_shape(level.value) or ())[1]
        rows = _pixel_rows(edit, level.value)
        return edit.node("Gather", [rows, level.anchors], (level.name, channels), axis=0)
    inside = Editor(model, place, path_of(large.node))
    hidden = _patch_products(inside, large, level)
    gate = inside.node("Sigmoid", [hidden], (level.name, large.shape[0]))
    active = inside.node("Mul", [hidden, gate], (level.name, large.shape[0]))
    last = read_convolution(end)
    assert last is not None
    matrix = [
        edit.constant("matrix", last.weight[:, :, 0, 0].T),
        edit.constant("bias", last.bias),
    ]
    return edit.node("Gemm", [active, *matrix], (level.name, last.shape[0]))


def _patch_products(edit: Editor, large: Convolution, level: _Level) -> ir.Value:
    """Insert the 3x3 convolution at the chosen pixels alone: (chosen, channels)."""
    data = large.node.inputs[0]
    shape = static_shape(data)
    assert data is not None
    assert shape is not None
    _, channels, height, width = shape
    pixels = edit.node(  # and after the last pixel one of zeros, for what is beyond the map
        "Concat",
        [_pixel_rows(edit, data), edit.constant("beyond", np.zeros((1, channels)))],
        (height * width + 1, channels),
        axis=0,
    )
    table = edit.constant("around", neighbours(height, width))
    around = edit.node("Gather", [table, level.anchors], (level.name, 9), dtype=_INT, axis=0)
    patches = edit.node("Gather", [pixels, around], (level.name, 9, channels), axis=0)
    flat = edit.node(
        "Reshape",
        [patches, edit.constant("patch", np.array([-1, 9 * channels]))],
        (level.name, 9 * channels),
    )
    matrix = [
        edit.constant("matrix", large.weight.transpose(2, 3, 1, 0).reshape(9 * channels, -1)),
        edit.constant("bias", large.bias),
    ]
    return edit.node("Gemm", [flat, *matrix], (level.name, large.shape[0]))


def neighbours(height: int, width: int) -> NDArray[np.int64]:
    """Return (height · width, 9): the pixels around each, row by row; one more is beyond."""
    numbers = np.full((height + 2, width + 2), height * width)
    numbers[1:-1, 1:-1] = np.arange(height * width).reshape(height, width)
    windows = np.lib.stride_tricks.sliding_window_view(numbers, (3, 3))
    return windows.reshape(-1, 9).astype(np.int64)


def _pixel_rows(edit: Editor, value: ir.Value) -> ir.Value:
    """Insert what turns (1, channels, h, w) into (h · w, channels)."""
    shape = static_shape(value)
    assert shape is not None
    _, channels, height, width = shape
    pixels = height * width
    flat = edit.node(
        "Reshape",
        [value, edit.constant("pixels", np.array([channels, pixels]))],
        (channels, pixels),
    )
    return edit.node("Transpose", [flat], (pixels, channels), perm=[1, 0])


def _put_back(edit: Editor, boxes: ir.Value, anchors: ir.Value, total: int) -> ir.Value:
    """Insert what gives (1, anchors, 4), zeros where no box was computed."""
    rows = edit.node("Transpose", [boxes], (1, CANDIDATES, 4), perm=[0, 2, 1])
    by_row = edit.node(
        "Reshape", [rows, edit.constant("by_row", np.array([-1, 4]))], (CANDIDATES, 4)
    )
    where = edit.node(
        "Reshape",
        [anchors, edit.constant("where", np.array([-1, 1]))],
        (CANDIDATES, 1),
        dtype=_INT,
    )
    nothing = edit.constant("nothing", np.zeros((total, 4)))
    among = edit.node("ScatterND", [nothing, where, by_row], (total, 4))
    return edit.node(
        "Reshape", [among, edit.constant("picture", np.array([1, total, 4]))], (1, total, 4)
    )


def _producer(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None
    return node
