"""A 1x1 convolution and a depthwise one, by alternating ridge regressions.

Output channel o is Σ_k d_ok Σ_i p_oi x_i(pixel + k): its weights over inputs and places are a
matrix of rank one. With d fixed, p is an ordinary ridge regression, and the other way round;
each step lowers the same error. The start is the leading singular pair of the full solution.
"""

from __future__ import annotations

import torch
from torch import nn

from xprune.layers.moments import Moments, Window, missed_share, with_bias
from xprune.layers.substitutes.windows import WINDOW_RIDGE, centred_window

# The first steps win nearly all.
STEPS = 4
# 32 MiB of systems, (I, I) for each output, are solved at once.
SYSTEM_ELEMENTS = 1 << 22


class Depthwise(nn.Module):
    """A 1x1 convolution, then a convolution of each channel by itself, with the stride."""

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
        # Without a bias, so that the zeros around its output are the zeros around its input.
        self.point = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.depth = nn.Conv2d(
            out_channels,
            out_channels,
            kernel,
            stride,
            padding=self.view.padding,
            groups=out_channels,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, ceil(H / s_h), ceil(W / s_w))."""
        result: torch.Tensor = self.depth(self.point(x))
        return result

    def solve(self, moments: Moments) -> float:
        """Set the weights and return the share of the outputs' variance that they miss."""
        system, wanted = moments.centred(WINDOW_RIDGE)
        places = wanted.shape[0] // self.in_channels
        full = moments.solution(WINDOW_RIDGE)
        point, depth = _leading_pairs(full.T.reshape(-1, self.in_channels, places))
        point, depth = _alternate(system, wanted, point, depth)
        product = (point[:, :, None] * depth[:, None, :]).flatten(1).T
        weights = with_bias(product, moments)
        self.point.weight.data.copy_(point[:, :, None, None])
        self.depth.weight.data.copy_(depth.reshape(self.depth.weight.shape))
        assert self.depth.bias is not None
        self.depth.bias.data.copy_(weights[-1])
        return missed_share(moments, weights)


def _leading_pairs(full: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (O, I) and (O, K), whose outer products come closest to (O, I, K)."""
    left, size, right = torch.linalg.svd(full, full_matrices=False)
    return left[:, :, 0] * size[:, :1], right[:, 0]


def _alternate(
    system: torch.Tensor, wanted: torch.Tensor, point: torch.Tensor, depth: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return better (O, I) and (O, K); never worse ones.

    Args:
        system: (I * K, I * K), positive definite.
        wanted: (I * K, O).
        point: The start, (O, I).
        depth: The start, (O, K).
    """
    outputs, inputs = point.shape
    places = depth.shape[1]
    # (K, K, I, I), as the products with the depthwise weights want it.
    by_place = system.reshape(inputs, places, inputs, places).permute(1, 3, 0, 2).contiguous()
    target = wanted.T.reshape(outputs, inputs, places)
    some = max(1, SYSTEM_ELEMENTS // inputs**2)
    for _ in range(STEPS):
        for start in range(0, outputs, some):
            part = slice(start, start + some)
            d = depth[part]
            pairs = (d[:, :, None] * d[:, None, :]).flatten(1)
            systems = (pairs @ by_place.reshape(places**2, -1)).reshape(-1, inputs, inputs)
            point[part] = _solved(systems, torch.einsum("oik,ok->oi", target[part], d))
        # (K², I, O): what each place of the kernel gives when the other one has its p.
        half = (by_place.reshape(-1, inputs) @ point.T).reshape(places**2, inputs, outputs)
        systems = (half * point.T).sum(dim=1).T.reshape(outputs, places, places)
        depth = _solved(systems, torch.einsum("oik,oi->ok", target, point))
    return point, depth


def _solved(systems: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Solve (N, M, M) systems for (N, M); a channel that nothing explains gets zeros."""
    # A dead output has no scale: its systems are zero, and so is what is wanted of them.
    floor = systems.diagonal(dim1=1, dim2=2).mean(dim=1) * 1e-12 + 1e-30
    eye = torch.eye(systems.shape[1], dtype=systems.dtype)
    lifted = systems + floor[:, None, None] * eye
    factor = torch.linalg.cholesky(lifted)
    return torch.cholesky_solve(wanted[:, :, None], factor)[:, :, 0]
