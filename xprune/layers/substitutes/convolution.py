"""One convolution in place of a block that has several, by ridge regression."""

from __future__ import annotations

import torch
from torch import nn

from xprune.layers.moments import Moments, Window, missed_share, set_convolution, with_bias
from xprune.layers.substitutes.windows import WINDOW_RIDGE, centred_window


class OneConvolution(nn.Module):
    """A convolution with zeros around its input."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: tuple[int, int],
        stride: tuple[int, int],
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.view: Window = centred_window(kernel, stride)
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding=self.view.padding
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, ceil(H / s_h), ceil(W / s_w))."""
        result: torch.Tensor = self.conv(x)
        return result

    def solve(self, moments: Moments) -> float:
        """Set the weights and return the share of the outputs' variance that they miss."""
        weights = with_bias(moments.solution(WINDOW_RIDGE), moments)
        set_convolution(self.conv, weights)
        return missed_share(moments, weights)
