"""How far what a head reads is from what the unpruned network gives it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Of a map's mean variance: a channel that hardly moves is not blown up.
LEAST_VARIANCE = 1e-3


def feature_distances(features: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Return the squared error of each picture's feature maps, in variances of each channel.

    Args:
        features: Maps (B, C, h, w), one a level.
        wanted: The same of the unpruned network. A level whose maps have another shape there,
            since what gives them was made narrower, cannot be compared and does not count.

    Returns:
        (B,), the mean over levels, channels and places; 0 where nothing moved.
    """
    levels = []
    for found, aim in zip(features, wanted, strict=True):
        if found.shape != aim.shape:
            continue
        variance = aim.var((0, 2, 3), keepdim=True, correction=0)
        scaled = (found - aim) ** 2 / (variance + LEAST_VARIANCE * variance.mean() + 1e-12)
        levels.append(scaled.mean((1, 2, 3)))
    if not levels:
        return features[0].new_zeros(len(features[0]))
    return torch.stack(levels).mean(0)
