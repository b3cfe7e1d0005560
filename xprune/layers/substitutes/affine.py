"""A scale and a shift for each channel, by a regression for each channel alone."""

from __future__ import annotations

import torch
from torch import nn

from xprune.layers import moments as sums
from xprune.layers.moments import Channels, Moments, missed_share


class Affine(nn.Module):
    """A scale and a shift for each channel."""

    view = Channels()

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_channels = self.out_channels = channels
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        return x * self.scale + self.shift

    def solve(self, moments: Moments) -> float:
        """Set the weights, only the scale shrunk; return the share of variance they miss."""
        system = moments.inputs.clone()
        system[:, 0, 0] *= 1 + sums.RIDGE
        system[:, 0, 0] += 1e-12
        weights: torch.Tensor = torch.linalg.solve(system, moments.cross)
        self.scale.data.copy_(weights[None, :, 0, None, None])
        self.shift.data.copy_(weights[None, :, 1, None, None])
        return missed_share(moments, weights)
