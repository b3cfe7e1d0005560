"""Where the second stage of a detector looks, and what it sees there.

Both depend on values: how many boxes a suppression leaves, on which level a region lies. As
operators of their own they have static shapes, so that the exporter has nothing to branch on.
PyTorch computes them with torchvision; `regions_onnx` says what they are in a graph.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Below all scores.
LOWEST = -1e30
# The feature pyramid's paper (arXiv 1612.03144, equation 1): a region of 224 px a side is
# looked at on the level that has 16 pixels a place; torchvision adds a little to the logarithm.
CANONICAL_PX, CANONICAL_LEVEL, LITTLE = 224.0, 4, 1e-6


@torch.library.custom_op("xprune_edge::best_regions", mutates_args=())
def best_regions(
    boxes: Tensor,
    scores: Tensor,
    level_sizes: Sequence[int],
    most_of_level: int,
    most: int,
    iou: float,
    min_score: float,
    min_side_px: float,
) -> Tensor:
    """Return the best boxes of each picture, as torchvision's `filter_proposals` has them.

    Of each level the best are taken, those that overlap a better one of their level go, and
    what is left is sorted over all levels.

    Args:
        boxes: (B, A, 4), ltrb in pixels, cut at the edges of the input.
        scores: (B, A), above `LOWEST`: probabilities or logits.
        level_sizes: How many of the A boxes are of each level, in their order.
        most_of_level: So many of a level are looked at.
        most: So many are returned.
        iou: The overlap beyond which the lesser box goes.
        min_score: What scores less goes.
        min_side_px: What is smaller goes.

    Returns:
        (B, most, 4), best first; what is missing at the end is four zeros.
    """
    found = [
        _best_of_picture(*pair, level_sizes, most_of_level, most, iou, (min_score, min_side_px))
        for pair in zip(boxes, scores, strict=True)
    ]
    return torch.stack(found)


@best_regions.register_fake
def _(
    boxes: Tensor,
    scores: Tensor,
    level_sizes: Sequence[int],
    most_of_level: int,
    most: int,
    iou: float,
    min_score: float,
    min_side_px: float,
) -> Tensor:
    return boxes.new_empty(len(boxes), most, 4)


def _best_of_picture(
    boxes: Tensor,
    scores: Tensor,
    level_sizes: Sequence[int],
    most_of_level: int,
    most: int,
    iou: float,
    least: tuple[float, float],
) -> Tensor:
    from torchvision.ops import batched_nms

    chosen, levels, first = [], [], 0
    for level, count in enumerate(level_sizes):
        part = scores[first : first + count]
        chosen.append(part.topk(min(most_of_level, count)).indices + first)
        levels.append(torch.full_like(chosen[-1], level))
        first += count
    index, level_of = torch.cat(chosen), torch.cat(levels)
    sides = boxes[index, 2:] - boxes[index, :2]
    large = (scores[index] >= least[0]) & (sides >= least[1]).all(dim=1)
    index, level_of = index[large], level_of[large]
    kept = index[batched_nms(boxes[index], scores[index], level_of, iou)[:most]]
    result = boxes.new_zeros(most, 4)
    result[: len(kept)] = boxes[kept]
    return result


@torch.library.custom_op("xprune_edge::pool_regions", mutates_args=())
def pool_regions(
    levels: Sequence[Tensor],
    regions: Tensor,
    scales: Sequence[float],
    side: int,
    sampling: int,
) -> Tensor:
    """Return what each region shows on its level, as torchvision's `MultiScaleRoIAlign` does.

    Args:
        levels: (B, C, H / 2^k, W / 2^k) each, the finest first.
        regions: (B, R, 4), ltrb in pixels of the input.
        scales: 2^-k of each level.
        side: Rows and columns of what is returned.
        sampling: Samples a bin, along each side.

    Returns:
        (B * R, C, side, side).
    """
    from torchvision.ops import roi_align

    pictures, each = regions.shape[:2]
    numbers = torch.arange(pictures, device=regions.device).repeat_interleave(each)
    rows = torch.cat((numbers[:, None].to(regions), regions.flatten(0, 1)), 1)
    area = (rows[:, 3] - rows[:, 1]) * (rows[:, 4] - rows[:, 2])
    level_of = _level_of(area, scales)
    result = levels[0].new_zeros(len(rows), levels[0].shape[1], side, side)
    for index, (level, scale) in enumerate(zip(levels, scales, strict=True)):
        here = level_of == index
        result[here] = roi_align(level, rows[here], side, scale, sampling)
    return result


@pool_regions.register_fake
def _(
    levels: Sequence[Tensor],
    regions: Tensor,
    scales: Sequence[float],
    side: int,
    sampling: int,
) -> Tensor:
    count = regions.shape[0] * regions.shape[1]
    return levels[0].new_empty(count, levels[0].shape[1], side, side)


def _level_of(area: Tensor, scales: Sequence[float]) -> Tensor:
    """Return which level each region is looked at on, from its area in square pixels."""
    limits = torch.tensor(area_limits(scales), dtype=area.dtype, device=area.device)
    return (area[:, None] >= limits).sum(dim=1)


def area_limits(scales: Sequence[float]) -> list[float]:
    """Return the areas in square pixels from which on the next coarser level is looked at.

    Two levels may be of one scale; then the second is never looked at.
    """
    finest, coarsest = (round(-math.log2(scale)) for scale in (scales[0], scales[-1]))
    # Smaller by the little that torchvision adds to the logarithm of the side.
    return [
        (CANONICAL_PX * 2.0 ** (k - CANONICAL_LEVEL - LITTLE)) ** 2
        for k in range(finest + 1, coarsest + 1)
    ]
