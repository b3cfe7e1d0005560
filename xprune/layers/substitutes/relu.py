"""A ReLU in place of another activation: runtimes fuse it into the convolution before it.

A scale and a shift of each channel come first; they are folded into that convolution, so they
cost nothing. With the channels' signs known the best ones are a regression over the samples
where the ReLU is open; those then change, so regressions alternate with looking, and the best
of all looks is kept. It starts as a plain ReLU and is never worse on the samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from xprune.layers.moments import Samples, Values

STEPS = 8
# Of the mean squared input where the ReLU is open, pulled towards a plain one.
PULL = 1e-3


class Relu(nn.Module):
    """A scale and a shift for each channel, then a ReLU."""

    view = Values()

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_channels = self.out_channels = channels
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        return functional.relu(x * self.scale + self.shift)

    def solve(self, samples: Samples) -> float:
        """Set the weights and return the share of the variance that they miss."""
        x, y = samples.inputs.to(torch.float64), samples.outputs.to(torch.float64)
        best = _Line(torch.ones_like(x[0]), torch.zeros_like(x[0]))
        least = best.error(x, y)
        line = best
        for _ in range(STEPS):
            line = _regression(x, y, line)
            error = line.error(x, y)
            better = error < least
            best = _Line(
                torch.where(better, line.scale, best.scale),
                torch.where(better, line.shift, best.shift),
            )
            least = torch.minimum(error, least)
        self.scale.data.copy_(best.scale[None, :, None, None])
        self.shift.data.copy_(best.shift[None, :, None, None])
        spread = (y - y.mean(dim=0)).square().sum()
        return float(least.sum() / spread.clamp_min(1e-30))


@dataclass(frozen=True)
class _Line:
    """relu(scale x + shift), both (C,)."""

    scale: torch.Tensor
    shift: torch.Tensor

    def error(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the sum of squared differences of each channel, (C,)."""
        return (functional.relu(x * self.scale + self.shift) - y).square().sum(dim=0)


def _regression(x: torch.Tensor, y: torch.Tensor, line: _Line) -> _Line:
    """Return the best line over the samples (S, C) where the given one is open."""
    is_open = (x * line.scale + line.shift > 0).to(x.dtype)
    count = is_open.sum(dim=0).clamp_min(1)
    mean_x, mean_y = ((is_open * value).sum(dim=0) / count for value in (x, y))
    centred = is_open * (x - mean_x)
    pull = PULL * (is_open * x.square()).sum(dim=0) + 1e-12
    scale = ((centred * y).sum(dim=0) + pull) / (centred.square().sum(dim=0) + pull)
    return _Line(scale, mean_y - scale * mean_x)
