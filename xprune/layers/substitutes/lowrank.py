"""A convolution to fewer channels and a 1x1 one back, by reduced-rank regression.

Izenman 1975: of all linear maps of rank r, the one with the least squared error is the
unrestricted solution followed by the projection onto the r leading eigenvectors of the fitted
outputs' covariance. With a ridge penalty the same holds (Mukherjee and Zhu 2011), so this is
an exact optimum, in the metric of the real inputs.
"""

from __future__ import annotations

import torch
from torch import nn

from xprune.layers.moments import Moments, Window, missed_share, with_bias
from xprune.layers.substitutes.windows import WINDOW_RIDGE, centred_window


class LowRank(nn.Module):
    """A convolution to `inner_channels`, then a 1x1 convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        inner_channels: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.view: Window = centred_window(kernel, stride)
        self.reduce = nn.Conv2d(
            in_channels, inner_channels, kernel, stride, padding=self.view.padding, bias=False
        )
        self.expand = nn.Conv2d(inner_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, ceil(H / s_h), ceil(W / s_w))."""
        result: torch.Tensor = self.expand(self.reduce(x))
        return result

    def solve(self, moments: Moments) -> float:
        """Set the weights and return the share of the outputs' variance that they miss."""
        _, wanted = moments.centred(WINDOW_RIDGE)
        full = moments.solution(WINDOW_RIDGE)
        fitted = wanted.T @ full
        rank = self.reduce.out_channels
        # Ascending, so the last ones lead.
        leading = torch.linalg.eigh((fitted + fitted.T) / 2).eigenvectors[:, -rank:]
        inner = full @ leading
        weights = with_bias(inner @ leading.T, moments)
        self.reduce.weight.data.copy_(inner.T.reshape(self.reduce.weight.shape))
        self.expand.weight.data.copy_(leading[:, :, None, None])
        assert self.expand.bias is not None
        self.expand.bias.data.copy_(weights[-1])
        return missed_share(moments, weights)
