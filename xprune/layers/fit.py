"""Solve a layer's weights by ridge regression from its inputs to wanted outputs."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from xprune.layers.moments import (
    KEPT_EVERY,
    Moments,
    Samples,
    Values,
    View,
    Window,
    missed_share,
    new_sums,
    ridge_weights,
    set_convolution,
    sum_bytes,
)
from xprune.layers.substitutes import SOLVED, Solved

# A convolution that stays is pulled towards the weights that training gave it, not to zero.
CONVOLUTION_RIDGE = 0.2
# Of columns at once: 16 MiB of floats.
COLUMN_ELEMENTS = 1 << 22
# The sums of a wider linear layer take more memory and time than it can win back.
WIDEST_LINEAR = 2048
# A linear layer is a convolution of a map of one pixel.
ONE_PIXEL = Window((1, 1), (1, 1), (0, 0))

Layer = nn.Conv2d | nn.Linear


def is_solvable(layer: nn.Module) -> bool:
    """Whether `fit` can set the weights of `layer`.

    Grouped convolutions are left alone: the few inputs of a channel leave nothing to gain. So
    are those whose padding is not a number of zeros.
    """
    if isinstance(layer, nn.Linear):
        return layer.in_features <= WIDEST_LINEAR
    if not isinstance(layer, nn.Conv2d):
        return isinstance(layer, SOLVED)
    in_zeros = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return layer.groups == 1 and in_zeros


def view_of(layer: nn.Module) -> View:
    """Return what an output pixel of the layer depends on; equal views can share moments."""
    if isinstance(layer, nn.Linear):
        return ONE_PIXEL
    if not isinstance(layer, nn.Conv2d):
        return cast(Solved, layer).view
    assert not isinstance(layer.padding, str)
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    return Window(_pair(kernel), _pair(stride), _pair(layer.padding), _pair(dilation))


def new_moments(layer: nn.Module) -> Moments | Samples:
    """Return empty sums of the size that `fit` needs for this layer."""
    inputs, outputs = _channels(layer)
    if isinstance(view_of(layer), Values):
        return Samples(*(torch.zeros(0, outputs) for _ in range(2)))
    return new_sums(view_of(layer), inputs, outputs)


def moment_bytes(layer: nn.Module) -> int:
    """Return the memory of `new_moments`."""
    return sum_bytes(view_of(layer), *_channels(layer))


def _channels(layer: nn.Module) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    sized = layer if isinstance(layer, nn.Conv2d) else cast(Solved, layer)
    return sized.in_channels, sized.out_channels


def add_samples(
    moments: Moments | Samples,
    layer: nn.Module,
    inputs: torch.Tensor,
    wanted: torch.Tensor,
    *,
    inputs_too: bool = True,
) -> None:
    """Add pictures.

    Args:
        moments: From `new_moments` of a layer of the same view.
        layer: What says how the inputs are looked at.
        inputs: (B, C, H, W), or (B, C) of a linear layer.
        wanted: (B, S, O), from `sampled_outputs`.
        inputs_too: False where `Moments.share_inputs` leaves the inputs to another one.
    """
    view = view_of(layer)
    if inputs.ndim == 2:
        inputs = inputs[:, :, None, None]
    if isinstance(moments, Samples):
        values, others = view.samples(inputs)[:, ::KEPT_EVERY], wanted[:, ::KEPT_EVERY]
        moments.add(values.flatten(0, 1), others.flatten(0, 1))
        return
    # Some at a time: the columns of a 3x3 kernel are nine times as many as the channels.
    elements = wanted.shape[1] * view.unknowns(inputs.shape[1])
    some = max(1, COLUMN_ELEMENTS // elements)
    for start in range(0, len(inputs), some):
        part = slice(start, start + some)
        columns = view.samples(inputs[part]).flatten(0, 1)
        moments.add(columns, wanted[part].flatten(0, 1), inputs_too=inputs_too)


def fit(
    layer: nn.Module, moments: Moments | Samples, *, norm: nn.BatchNorm2d | None = None
) -> float:
    """Set the layer's weights and return the share of the output's variance they miss.

    Args:
        layer: For which `is_solvable` holds.
        moments: All its samples.
        norm: The normalisation that reads the layer's output and nothing else's, if there is
            one: a convolution without a bias moves its mean there.
    """
    if isinstance(layer, Layer):
        assert isinstance(moments, Moments)
        return missed_share(moments, _fit_convolution(layer, moments, norm))
    return cast(Solved, layer).solve(moments)


def _fit_convolution(
    layer: Layer, moments: Moments, norm: nn.BatchNorm2d | None
) -> torch.Tensor:
    kernel = layer.weight.detach().flatten(1).T.to(torch.float64)
    bias = kernel.new_zeros(1, kernel.shape[1])
    if layer.bias is not None:
        bias[0] = layer.bias.detach()
    start = torch.cat([kernel, bias])
    has_bias = layer.bias is not None or norm is not None
    weights = ridge_weights(moments, CONVOLUTION_RIDGE, start, has_bias=has_bias)
    set_convolution(layer, weights)
    if layer.bias is None and norm is not None:
        assert norm.running_mean is not None
        norm.running_mean -= weights[-1].to(norm.running_mean)
    return weights


def _pair(size: tuple[int, ...]) -> tuple[int, int]:
    return int(size[0]), int(size[1])
