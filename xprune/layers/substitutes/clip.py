"""A clip from below in place of another activation: runtimes fuse it into a convolution.

A smooth activation such as SiLU dips below zero, and what reads it counts on that: a clip at a
fitted floor misses a fraction of what one at 0, a ReLU, does. (Networks built with such a one
call it a displaced ReLU, Macêdo et al. 2019.)

A scale and a shift of each channel come first; they are folded into that convolution, so they
cost nothing. With the channels' signs and the floor known the best ones are a regression over
the samples that are not clipped, and the best floor is the mean of the others; who is clipped
then changes, so solving alternates with looking, and the best of all looks is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from xprune.layers.moments import Samples, Values

STEPS = 8
# Of the mean squared input where nothing is clipped, pulled towards a plain clip.
PULL = 1e-3


class Clip(nn.Module):
    """A scale and a shift for each channel, then a clip from below.

    The floor is one for all channels, and never above 0: in 8 bits it is the least of the
    steps, which clips for nothing.
    """

    view = Values()

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_channels = self.out_channels = channels
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.floor = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        return torch.maximum(x * self.scale + self.shift, self.floor)

    def solve(self, samples: Samples) -> float:
        """Set the weights and return the share of the variance that they miss."""
        x, y = samples.inputs.to(torch.float64), samples.outputs.to(torch.float64)
        floor = _best_floor(x, y)
        best = line = _Line(torch.ones_like(x[0]), torch.zeros_like(x[0]), floor)
        least = best.errors(x, y)
        for _ in range(STEPS):
            line = _regression(x, y, line)
            errors = line.errors(x, y)
            better = errors < least
            best = _Line(
                torch.where(better, line.scale, best.scale),
                torch.where(better, line.shift, best.shift),
                floor,
            )
            least = torch.minimum(errors, least)
        self.scale.data.copy_(best.scale[None, :, None, None])
        self.shift.data.copy_(best.shift[None, :, None, None])
        self.floor.data.copy_(floor)
        spread = (y - y.mean(dim=0)).square().sum()
        return float(least.sum() / spread.clamp_min(1e-30))


@dataclass(frozen=True)
class _Line:
    """max(scale x + shift, floor), the former two (C,) and the latter ()."""

    scale: torch.Tensor
    shift: torch.Tensor
    floor: torch.Tensor

    def is_open(self, x: torch.Tensor) -> torch.Tensor:
        """Return which samples (S, C) are not clipped."""
        return x * self.scale + self.shift > self.floor

    def errors(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the sum of squared differences of each channel, (C,)."""
        clipped = torch.maximum(x * self.scale + self.shift, self.floor)
        return (clipped - y).square().sum(dim=0)


def _best_floor(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the floor of the best of all looks; half the least output is a good first one."""
    floor = (y.min() / 2).clamp(max=0)
    line = best = _Line(torch.ones_like(x[0]), torch.zeros_like(x[0]), floor)
    least = best.errors(x, y).sum()
    for _ in range(STEPS):
        line = _regression(x, y, line)
        is_clipped = ~line.is_open(x)
        if is_clipped.any():
            line = _Line(line.scale, line.shift, y[is_clipped].mean().clamp(max=0))
        error = line.errors(x, y).sum()
        if error < least:
            best, least = line, error
    return best.floor


def _regression(x: torch.Tensor, y: torch.Tensor, line: _Line) -> _Line:
    """Return the best line over the samples (S, C) that the given one does not clip."""
    is_open = line.is_open(x).to(x.dtype)
    count = is_open.sum(dim=0).clamp_min(1)
    mean_x, mean_y = ((is_open * value).sum(dim=0) / count for value in (x, y))
    centred = is_open * (x - mean_x)
    pull = PULL * (is_open * x.square()).sum(dim=0) + 1e-12
    scale = ((centred * y).sum(dim=0) + pull) / (centred.square().sum(dim=0) + pull)
    return _Line(scale, mean_y - scale * mean_x, line.floor)
