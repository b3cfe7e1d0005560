"""Solve a layer's weights by ridge regression from its inputs to wanted outputs.

Regression needs samples, not whole feature maps: a few hundred positions of every picture
serve, the same ones in each, so a result does not depend on how pictures are batched.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional

from xprune.layers.substitutes import Affine, Linear

# 256 positions of 64 pictures are 16,384 samples; the deepest maps have 100 positions and their
# widest kernels 2,304 unknowns a row.
POSITIONS_PER_PICTURE = 256
# Relative to the mean squared input; keeps near-collinear channels from blowing up.
RIDGE = 1e-3
# A convolution that stays is pulled towards the weights that training gave it, not to zero.
CONVOLUTION_RIDGE = 0.2


@dataclass
class Moments:
    """Sums over samples, in float64, that ridge regression needs.

    Attributes:
        inputs: (I + 1, I + 1) sum of [x, 1] [x, 1]^T; (C, 2, 2) where each channel is explained
            by itself alone.
        cross: (I + 1, O) sum of [x, 1] y^T; (C, 2).
        outputs: (O,) sum of y².
        count: Number of samples.
        dtype: In which the products of one `add` are summed up.
    """

    inputs: torch.Tensor
    cross: torch.Tensor
    outputs: torch.Tensor
    count: int = 0
    dtype: torch.dtype = torch.float64

    def add(self, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """Add samples: `inputs` (S, I), `outputs` (S, O)."""
        x = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1).to(self.dtype)
        y = outputs.to(self.dtype)
        if self.inputs.ndim == 3:
            x = torch.stack([x[:, :-1], torch.ones_like(y)])
            self.inputs += torch.einsum("isc,jsc->cij", x, x)
            self.cross += torch.einsum("isc,sc->ci", x, y)
        else:
            self.inputs += x.T @ x
            self.cross += x.T @ y
        self.outputs += (y * y).sum(dim=0)
        self.count += len(x) if self.inputs.ndim == 2 else x.shape[1]


def is_solvable(layer: nn.Module) -> bool:
    """Whether `fit` can set the weights of `layer`.

    Grouped convolutions are left alone: the few inputs of a channel leave nothing to gain. So
    are those whose padding is not a number of zeros.
    """
    if not isinstance(layer, nn.Conv2d):
        return isinstance(layer, Affine | Linear)
    in_zeros = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return layer.groups == 1 and in_zeros


def new_moments(layer: nn.Module) -> Moments:
    """Return empty sums of the size that `fit` needs for this layer."""
    if isinstance(layer, Affine):
        channels = layer.scale.numel()
        return Moments(_zeros(channels, 2, 2), _zeros(channels, 2), _zeros(channels))
    convolution = layer.conv if isinstance(layer, Linear) else layer
    assert isinstance(convolution, nn.Conv2d)
    size, outputs = convolution.weight[0].numel() + 1, convolution.out_channels
    sums = Moments(_zeros(size, size), _zeros(size, outputs), _zeros(outputs))
    if isinstance(layer, nn.Conv2d):
        # Nine times as wide, so worth the speed; the pull towards its own weights forgives it.
        sums.dtype = torch.float32
    return sums


def add_samples(
    moments: Moments, layer: nn.Module, inputs: torch.Tensor, wanted: torch.Tensor
) -> None:
    """Add pictures: `inputs` (B, C, H, W), `wanted` (B, S, O) from `sampled_outputs`."""
    if isinstance(layer, nn.Conv2d):
        # Picture by picture: the columns of a 3x3 kernel are nine times the feature map.
        for index, outputs in enumerate(wanted):
            moments.add(_columns(layer, inputs[index : index + 1]), outputs)
        return
    pooled = layer.pool(inputs) if isinstance(layer, Linear) else inputs
    moments.add(sampled_outputs(pooled).flatten(0, 1), wanted.flatten(0, 1))


def sampled_outputs(outputs: torch.Tensor) -> torch.Tensor:
    """Return the sampled positions of (B, C, H, W) as (B, S, C)."""
    positions = _positions(*outputs.shape[2:])
    return outputs.flatten(2)[:, :, positions].transpose(1, 2)


def fit(layer: nn.Module, moments: Moments, *, norm: nn.BatchNorm2d | None = None) -> float:
    """Set the layer's weights and return the share of the output's variance they miss.

    Args:
        layer: For which `is_solvable` holds.
        moments: All its samples.
        norm: The normalisation that reads the layer's output and nothing else's, if there is
            one: a convolution without a bias moves its mean there.

    Returns:
        Residual sum of squares over total sum of squares about the mean, 0 for a perfect fit.
    """
    if isinstance(layer, Affine):
        weights = _fit_affine(layer, moments)
        explained = (weights * moments.cross).sum(dim=1)
        means = moments.cross[:, 1]
        square = torch.einsum("ci,cij,cj->c", weights, moments.inputs, weights)
    else:
        if isinstance(layer, Linear):
            weights = _ridge(moments, torch.zeros_like(moments.cross), RIDGE)
            _set_convolution(layer.conv, weights)
        else:
            assert isinstance(layer, nn.Conv2d)
            weights = _fit_convolution(layer, moments, norm)
        explained = (weights * moments.cross).sum(dim=0)
        means = moments.cross[-1]
        square = (weights * (moments.inputs @ weights)).sum(dim=0)
    error = moments.outputs - 2 * explained + square
    spread = moments.outputs - means.square() / moments.count
    return float(error.sum().clamp_min(0) / spread.sum().clamp_min(1e-30))


def _ridge(moments: Moments, start: torch.Tensor, ridge: float) -> torch.Tensor:
    """Return (I + 1, O) weights, pulled towards `start`; the last row, the bias, is free."""
    size = len(moments.inputs) - 1
    penalty = moments.inputs.diagonal()[:size].mean().clamp_min(1e-12) * ridge
    system = moments.inputs.clone()
    system.diagonal()[:size] += penalty
    step: torch.Tensor = torch.linalg.solve(system, moments.cross - moments.inputs @ start)
    return start + step


def _fit_convolution(
    layer: nn.Conv2d, moments: Moments, norm: nn.BatchNorm2d | None
) -> torch.Tensor:
    kernel = layer.weight.detach().flatten(1).T.to(torch.float64)
    bias = kernel.new_zeros(1, kernel.shape[1])
    if layer.bias is not None:
        bias[0] = layer.bias.detach()
    start = torch.cat([kernel, bias])
    if layer.bias is None and norm is None:
        size = len(kernel)
        inner = Moments(moments.inputs[:size, :size], moments.cross[:size], moments.outputs)
        penalty = inner.inputs.diagonal().mean().clamp_min(1e-12) * CONVOLUTION_RIDGE
        system = inner.inputs + torch.eye(size, dtype=torch.float64) * penalty
        kernel = kernel + torch.linalg.solve(system, inner.cross - inner.inputs @ kernel)
        weights = torch.cat([kernel, bias])
    else:
        weights = _ridge(moments, start, CONVOLUTION_RIDGE)
    _set_convolution(layer, weights)
    if layer.bias is None and norm is not None:
        assert norm.running_mean is not None
        norm.running_mean -= weights[-1].to(norm.running_mean)
    return weights


def _set_convolution(layer: nn.Conv2d, weights: torch.Tensor) -> None:
    layer.weight.data.copy_(weights[:-1].T.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.data.copy_(weights[-1])


def _fit_affine(layer: Affine, moments: Moments) -> torch.Tensor:
    """Return (C, 2), scale and shift; only the scale is shrunk."""
    system = moments.inputs.clone()
    system[:, 0, 0] *= 1 + RIDGE
    system[:, 0, 0] += 1e-12
    weights: torch.Tensor = torch.linalg.solve(system, moments.cross)
    layer.scale.data.copy_(weights[None, :, 0, None, None])
    layer.shift.data.copy_(weights[None, :, 1, None, None])
    return weights


def _columns(layer: nn.Conv2d, picture: torch.Tensor) -> torch.Tensor:
    """Return what the layer's weights multiply, (S, I), for one picture (1, C, H, W)."""
    assert not isinstance(layer.padding, str)
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    padding = (int(layer.padding[0]), int(layer.padding[1]))
    columns = functional.unfold(picture, kernel, dilation, padding, stride)
    height, width = (
        (picture.shape[2 + axis] + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1)
        // stride[axis]
        + 1
        for axis in (0, 1)
    )
    return columns[0].T[_positions(height, width)]


def _zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.float64)


@lru_cache(maxsize=256)
def _positions(height: int, width: int) -> torch.Tensor:
    """Return the flat positions of an output map that serve as samples."""
    generator = torch.Generator().manual_seed(height * 65_537 + width)
    order = torch.randperm(height * width, generator=generator)
    return order[:POSITIONS_PER_PICTURE].sort().values
