"""A 1x1 convolution, by ridge regression.

Before a convolution that puts zeros around its input it has no bias: only then do the two merge
exactly. The convolution behind can shift its own output, and a refit makes it do so.
"""

from __future__ import annotations

import torch
from torch import nn

from xprune.layers import moments as sums
from xprune.layers.moments import Moments, Pooled, missed_share, ridge_weights, set_convolution


class Linear(nn.Module):
    """A 1x1 convolution, after average pooling where the layer had a stride."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: tuple[int, int],
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride = stride
        self.view = Pooled(stride)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, ceil(H / s_h), ceil(W / s_w))."""
        result: torch.Tensor = self.conv(self.pool(x))
        return result

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        """Average over the stride's window; the last window may be cut short."""
        return self.view.pool(x)

    def solve(self, moments: Moments) -> float:
        """Set the weights and return the share of the outputs' variance that they miss."""
        weights = ridge_weights(moments, sums.RIDGE, has_bias=self.conv.bias is not None)
        set_convolution(self.conv, weights)
        return missed_share(moments, weights)
