"""A constant zero: the seed paper's zeroing, and its control."""

from __future__ import annotations

import torch
from torch import nn


class Zero(nn.Module):
    """A constant zero of the layer's output shape; its input is not looked at."""

    def __init__(self, out_channels: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to zeros of shape (B, C_out, ceil(H / s_h), ceil(W / s_w))."""
        height, width = -(-x.shape[2] // self.stride[0]), -(-x.shape[3] // self.stride[1])
        return x.new_zeros(x.shape[0], self.out_channels, height, width)
