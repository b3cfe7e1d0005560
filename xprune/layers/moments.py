"""Samples of a layer's inputs and outputs, summed up as ridge regression needs them.

Regression needs samples, not whole feature maps: a few hundred positions of every picture
serve, the same ones in each, so a result does not depend on how pictures are batched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional

# 256 positions of 64 pictures are 16,384 samples; the deepest maps have 100 positions and their
# widest kernels 2,304 unknowns a row.
POSITIONS_PER_PICTURE = 256
# Relative to the mean squared input; keeps near-collinear channels from blowing up.
RIDGE = 1e-3


@dataclass(frozen=True)
class Channels:
    """Each channel of the output is explained by the same channel of the input alone."""

    def samples(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to its sampled positions (B, S, C)."""
        return sampled_outputs(inputs)

    def unknowns(self, in_channels: int) -> int:
        """Return how many inputs a sample has."""
        return in_channels


@dataclass(frozen=True)
class Pooled:
    """An output pixel is explained by the means of its window, as large as the stride."""

    stride: tuple[int, int]

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        """Average over the stride's window; the last window may be cut short."""
        if self.stride == (1, 1):
            return x
        return functional.avg_pool2d(
            x, self.stride, self.stride, ceil_mode=True, count_include_pad=False
        )

    def samples(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to sampled means (B, S, C)."""
        return sampled_outputs(self.pool(inputs))

    def unknowns(self, in_channels: int) -> int:
        """Return how many inputs a sample has."""
        return in_channels


@dataclass(frozen=True)
class Window:
    """An output pixel is explained by all that a convolution sees, zeros around the map.

    Attributes:
        kernel: Rows and columns.
        stride: Vertically and horizontally, as the others.
        padding: Zeros on each side.
        dilation: Distance between the rows and between the columns of the kernel.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)

    def samples(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, S, C * kernel), in the order of a convolution's weights."""
        (top, left), (height, width) = self.padding, inputs.shape[2:]
        padded = functional.pad(inputs, (left, left, top, top))
        places = _places(self, height, width)
        seen = padded.flatten(2)[:, :, places]  # (B, C, kernel, S)
        return seen.permute(0, 3, 1, 2).flatten(2)

    def unknowns(self, in_channels: int) -> int:
        """Return how many inputs a sample has."""
        return in_channels * self.kernel[0] * self.kernel[1]


@dataclass(frozen=True)
class Values:
    """Each value is explained by the value at its own place: samples are kept one by one."""

    def samples(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to its sampled positions (B, S, C)."""
        return sampled_outputs(inputs)

    def unknowns(self, in_channels: int) -> int:
        """Return how many inputs a sample has."""
        return in_channels


View = Channels | Pooled | Window | Values

# Of the positions of a picture that are sampled, every eighth is kept as it is: two unknowns
# for a channel need no more than 2,048 samples, and these are not summed up.
KEPT_EVERY = 8
KEPT_BYTES = 2 * 4 * 2048


@dataclass
class Samples:
    """Samples as they are, for what is not linear.

    Attributes:
        inputs: (S, C).
        outputs: (S, C).
    """

    inputs: torch.Tensor
    outputs: torch.Tensor

    def add(self, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        """Add samples (S, C) of both."""
        self.inputs = torch.cat([self.inputs, inputs])
        self.outputs = torch.cat([self.outputs, outputs])


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
        factors: The Cholesky factors of `centred` that were asked for, by their ridge.
    """

    inputs: torch.Tensor
    cross: torch.Tensor
    outputs: torch.Tensor
    count: int = 0
    dtype: torch.dtype = torch.float64
    factors: dict[float, torch.Tensor] = field(default_factory=dict, repr=False)

    def share_inputs(self, other: Moments) -> None:
        """Read the sums over the inputs from `other`, which alone adds to them from now on."""
        self.inputs, self.factors = other.inputs, other.factors

    def add(
        self, inputs: torch.Tensor, outputs: torch.Tensor, *, inputs_too: bool = True
    ) -> None:
        """Add samples: `inputs` (S, I), `outputs` (S, O).

        Args:
            inputs: What explains.
            outputs: What is to be explained.
            inputs_too: Whether the sums over the inputs alone are still to be made.
        """
        self.count += len(inputs)
        self.outputs += outputs.to(torch.float64).square().sum(dim=0)
        if self.inputs.ndim == 3:
            x, y = inputs.to(self.dtype), outputs.to(self.dtype)
            both = torch.stack([x, torch.ones_like(x)])
            self.inputs += torch.einsum("isc,jsc->cij", both, both)
            self.cross += torch.einsum("isc,sc->ci", both, y)
            return
        # Sums of products of what is left of the means are small, so little is lost in float32;
        # with z = z' + a and y = y' + m, the rest of Σ z z^T and Σ z y^T is added in float64.
        a, m = inputs.mean(dim=0), outputs.mean(dim=0)
        ones = inputs.new_ones(len(inputs), 1)
        z = torch.cat([inputs - a, ones], dim=1).to(self.dtype)
        y = (outputs - m).to(self.dtype)
        a = torch.cat([a.to(torch.float64), torch.zeros(1, dtype=torch.float64)])
        sums = z.sum(dim=0, dtype=torch.float64)
        if inputs_too:
            half = sums + a * (len(inputs) / 2)
            self.inputs += z.T @ z
            self.inputs.addr_(a, half).addr_(half, a)
        self.cross += z.T @ y
        self.cross.addr_(a, y.sum(dim=0, dtype=torch.float64))
        self.cross.addr_(sums + a * len(inputs), m.to(torch.float64))

    @property
    def means(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The means of the inputs (I,) and of the outputs (O,)."""
        return self.inputs[-1, :-1] / self.count, self.cross[-1] / self.count

    def centred(self, ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Σ(x - x̄)(x - x̄)^T + penalty, (I, I), and Σ(x - x̄)(y - ȳ)^T, (I, O).

        Regression on these is regression with a free bias.
        """
        (x, y), size = self.means, len(self.inputs) - 1
        system = self.inputs[:size, :size] - self.count * torch.outer(x, x)
        # Relative to the variance: a large mean is no reason to shrink. The second part is for
        # inputs that are all constant.
        penalty = system.diagonal().mean() * ridge + self.penalty(1e-9)
        system.diagonal().add_(penalty)
        return system, self.cross[:size] - self.count * torch.outer(x, y)

    def solution(self, ridge: float) -> torch.Tensor:
        """Return the ridge solution for centred samples, (I, O)."""
        system, wanted = self.centred(ridge)
        if ridge not in self.factors:
            self.factors[ridge] = torch.linalg.cholesky(system)
        return torch.cholesky_solve(wanted, self.factors[ridge])

    def penalty(self, ridge: float) -> torch.Tensor:
        """Return `ridge` times the mean squared input."""
        return self.inputs.diagonal()[:-1].mean().clamp_min(1e-12) * ridge


def new_sums(view: View, in_channels: int, out_channels: int) -> Moments:
    """Return empty sums."""
    if isinstance(view, Channels):
        return Moments(_zeros(in_channels, 2, 2), _zeros(in_channels, 2), _zeros(in_channels))
    size = view.unknowns(in_channels) + 1
    sums = Moments(_zeros(size, size), _zeros(size, out_channels), _zeros(out_channels))
    if isinstance(view, Window):
        # Nine times as wide, so worth the speed. The products of one batch lose about 1e-6 of
        # the inputs' variance, a thousandth of the weakest penalty.
        sums.dtype = torch.float32
    return sums


def sum_bytes(view: View, in_channels: int, out_channels: int) -> int:
    """Return the memory that `new_sums` takes."""
    if isinstance(view, Channels):
        return 8 * 7 * in_channels
    if isinstance(view, Values):
        return KEPT_BYTES * in_channels
    size = view.unknowns(in_channels) + 1
    return 8 * size * (size + out_channels)


def ridge_weights(
    moments: Moments, ridge: float, start: torch.Tensor | None = None, *, has_bias: bool = True
) -> torch.Tensor:
    """Return (I + 1, O) weights by ridge regression.

    Args:
        moments: Of the samples.
        ridge: The penalty, relative to the mean squared input.
        start: What the weights are pulled towards; zeros by default. The bias, their last row,
            is not pulled.
        has_bias: Whether there is one; if not, the row stays as it is.
    """
    weights = torch.zeros_like(moments.cross) if start is None else start.clone()
    size = len(weights) if has_bias else len(weights) - 1
    system = moments.inputs[:size, :size].clone()
    system.diagonal()[: len(weights) - 1] += moments.penalty(ridge)
    wanted = moments.cross[:size] - moments.inputs[:size] @ weights
    weights[:size] += torch.linalg.solve(system, wanted)
    return weights


def with_bias(weights: torch.Tensor, moments: Moments) -> torch.Tensor:
    """Append to (I, O) weights the row of biases that makes the means meet."""
    x, y = moments.means
    return torch.cat([weights, (y - x @ weights)[None]])


def missed_share(moments: Moments, weights: torch.Tensor) -> float:
    """Return the share of the outputs' variance that a linear map misses.

    Args:
        moments: Of the samples.
        weights: (I + 1, O), the last row the bias; (C, 2) where each channel stands alone.

    Returns:
        Residual sum of squares over total sum of squares about the mean, 0 for a perfect fit.
    """
    if moments.inputs.ndim == 3:
        explained = (weights * moments.cross).sum(dim=1)
        means = moments.cross[:, 1]
        square = torch.einsum("ci,cij,cj->c", weights, moments.inputs, weights)
    else:
        explained = (weights * moments.cross).sum(dim=0)
        means = moments.cross[-1]
        square = (weights * (moments.inputs @ weights)).sum(dim=0)
    error = moments.outputs - 2 * explained + square
    spread = moments.outputs - means.square() / moments.count
    return float(error.sum().clamp_min(0) / spread.sum().clamp_min(1e-30))


def set_convolution(layer: nn.Conv2d | nn.Linear, weights: torch.Tensor) -> None:
    """Give a convolution or linear layer (I + 1, O) weights, the last row its bias, if any."""
    layer.weight.data.copy_(weights[:-1].T.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.data.copy_(weights[-1])


def sampled_outputs(outputs: torch.Tensor) -> torch.Tensor:
    """Return the sampled positions of (B, C, H, W) as (B, S, C); of (B, C) there is one."""
    if outputs.ndim == 2:
        return outputs[:, None]
    positions = sampled_positions(*outputs.shape[2:])
    return outputs.flatten(2)[:, :, positions].transpose(1, 2)


@lru_cache(maxsize=256)
def sampled_positions(height: int, width: int) -> torch.Tensor:
    """Return the flat positions of an output map that serve as samples."""
    generator = torch.Generator().manual_seed(height * 65_537 + width)
    order = torch.randperm(height * width, generator=generator)
    return order[:POSITIONS_PER_PICTURE].sort().values


@lru_cache(maxsize=256)
def _places(window: Window, height: int, width: int) -> torch.Tensor:
    """Return the flat places in a padded (height, width) map that samples see, (kernel, S)."""
    padded = [size + 2 * pad for size, pad in zip((height, width), window.padding, strict=True)]
    rows, columns = (
        (size - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, dilation in zip(
            padded, window.kernel, window.stride, window.dilation, strict=True
        )
    )
    positions = sampled_positions(rows, columns)
    first = positions // columns * window.stride[0] * padded[1]
    first = first + positions % columns * window.stride[1]
    down = torch.arange(window.kernel[0]) * window.dilation[0] * padded[1]
    right = torch.arange(window.kernel[1]) * window.dilation[1]
    return (down[:, None] + right).flatten()[:, None] + first


def _zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.float64)
