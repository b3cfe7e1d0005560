"""What `regions` computes, as standard ONNX operators, for one picture.

The functions run while the exporter makes a graph; what they return are values of the graph.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnx import numpy_helper
from onnxscript import opset18
from torch import Tensor

from exporters.heads.regions import LOWEST, area_limits

# Its types tell apart what an operator takes, and a value of a graph has none yet.
op: Any = opset18

INT64 = 7  # as ONNX numbers its types


def _best_regions(
    boxes: Any,
    scores: Any,
    level_sizes: Sequence[int],
    most_of_level: int,
    most: int,
    iou: float,
    min_score: float,
    min_side_px: float,
) -> Any:
    chosen, levels, first = [], [], 0
    for level, count in enumerate(level_sizes):
        part = op.Slice(scores, _ints(first), _ints(first + count), _ints(1))
        few = min(most_of_level, count)
        _, index = op.TopK(part, _ints(few), axis=1)
        chosen.append(op.Add(index, _int(first)))
        levels += [level] * few
        first += count
    index = op.Reshape(op.Concat(*chosen, axis=1), _ints(-1))
    of_index, near = op.Gather(scores, index, axis=1), op.Gather(boxes, index, axis=1)
    sides = op.Sub(*(op.Slice(near, _ints(a), _ints(a + 2), _ints(2)) for a in (2, 0)))
    # (1, K), the lesser side; then (1, levels, K), where each level sees its own alone.
    lesser = op.ReduceMin(sides, _ints(2), keepdims=0)
    large = op.And(
        op.GreaterOrEqual(of_index, _float(min_score)),
        op.GreaterOrEqual(lesser, _float(min_side_px)),
    )
    own = torch.nn.functional.one_hot(torch.tensor(levels), len(level_sizes)).T[None].bool()
    own = op.Constant(value=_tensor(own))
    seen = op.And(own, op.Unsqueeze(large, _ints(1)))
    # What is no candidate is below the limit.
    by_level = op.Where(seen, op.Unsqueeze(of_index, _ints(1)), _float(2 * LOWEST))
    triples = op.NonMaxSuppression(near, by_level, _ints(most), _floats(iou), _floats(LOWEST))
    kept = op.Reshape(op.Slice(triples, _ints(2), _ints(3), _ints(1)), _ints(-1))
    kept_scores = op.Gather(op.Reshape(of_index, _ints(-1)), kept)
    count = op.Min(op.Shape(kept_scores), _ints(most))
    _, order = op.TopK(kept_scores, count, axis=0)
    best = op.Gather(near, op.Gather(kept, order), axis=1)
    missing = op.Sub(_ints(most), count)
    padded = op.Pad(best, op.Concat(_ints(0, 0, 0, 0), missing, _ints(0), axis=0))
    return op.Reshape(padded, _ints(1, most, 4))


def _pool_regions(
    levels: Sequence[Any], regions: Any, scales: Sequence[float], side: int, sampling: int
) -> Any:
    flat, limits = op.Squeeze(regions, _ints(0)), area_limits(scales)
    every = op.Range(_int(0), op.Gather(op.Shape(flat), _int(0)), _int(1))
    if not limits:
        return _pooled(levels[0], flat, every, scales[0], side, sampling)
    left_top, right_bottom = (op.Slice(flat, _ints(a), _ints(a + 2), _ints(1)) for a in (0, 2))
    area = op.ReduceProd(op.Sub(right_bottom, left_top), _ints(1), keepdims=0)
    steps = op.Constant(value_floats=limits)
    beyond = op.GreaterOrEqual(op.Unsqueeze(area, _ints(1)), steps)
    level_of = op.ReduceSum(op.Cast(beyond, to=INT64), _ints(1), keepdims=0)
    chosen, pooled = [], []
    for index in range(len(limits) + 1):
        chosen.append(op.Reshape(op.NonZero(op.Equal(level_of, _int(index))), _ints(-1)))
        pooled.append(_pooled(levels[index], flat, chosen[-1], scales[index], side, sampling))
    order = op.Concat(*chosen, axis=0)
    _, back = op.TopK(order, op.Shape(order), axis=0, largest=0)
    return op.Gather(op.Concat(*pooled, axis=0), back)


def _pooled(level: Any, flat: Any, chosen: Any, scale: float, side: int, sampling: int) -> Any:
    """Return what those regions (R, 4) that were chosen show on a level."""
    return op.RoiAlign(
        level,
        op.Gather(flat, chosen),
        op.Mul(chosen, _int(0)),  # the number of the picture
        coordinate_transformation_mode="output_half_pixel",
        output_height=side,
        output_width=side,
        sampling_ratio=sampling,
        spatial_scale=float(scale),
    )


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.xprune_edge.best_regions.default: _best_regions,
    torch.ops.xprune_edge.pool_regions.default: _pool_regions,
}


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=list(values))


def _int(value: int) -> Any:
    return op.Constant(value_int=value)


def _floats(*values: float) -> Any:
    return op.Constant(value_floats=list(values))


def _float(value: float) -> Any:
    return op.Constant(value_float=value)


def _tensor(values: Tensor) -> Any:
    return numpy_helper.from_array(values.numpy())
