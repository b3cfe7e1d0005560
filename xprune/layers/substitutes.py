"""What can stand in a removed layer's place, cheapest first.

Their weights are not trained but solved, by ridge regression from the layer's own inputs to its
own outputs: see `fit`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.nn import functional

from runtime_bench.errors import EdgeError
from xprune.layers.candidates import Candidate


@dataclass(frozen=True)
class Replacement:
    """One layer and what takes its place, in full: enough to rebuild the structure alone.

    Attributes:
        layer: The module's path in the network.
        substitute: A key of `SUBSTITUTES`.
        in_channels: Channels of the layer's input.
        out_channels: Channels of its output.
        stride: Input pixels for one output pixel, vertically and horizontally.
    """

    layer: str
    substitute: str
    in_channels: int
    out_channels: int
    stride: tuple[int, int] = (1, 1)

    def to_json(self) -> dict[str, object]:
        """Return plain values for a checkpoint's metadata."""
        return {**asdict(self), "stride": list(self.stride)}


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


class Affine(nn.Module):
    """A scale and a shift for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        return x * self.scale + self.shift


class Linear(nn.Module):
    """A 1x1 convolution, after average pooling where the layer had a stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, ceil(H / s_h), ceil(W / s_w))."""
        result: torch.Tensor = self.conv(self.pool(x))
        return result

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        """Average over the stride's window; the last window may be cut short."""
        if self.stride == (1, 1):
            return x
        return functional.avg_pool2d(
            x, self.stride, self.stride, ceil_mode=True, count_include_pad=False
        )


SUBSTITUTES: dict[str, Callable[[Replacement], nn.Module]] = {
    "zero": lambda wanted: Zero(wanted.out_channels, wanted.stride),  # the seed paper's zeroing
    "identity": lambda wanted: nn.Identity(),  # the seed paper's bypass
    "affine": lambda wanted: Affine(wanted.out_channels),
    "linear": lambda wanted: Linear(wanted.in_channels, wanted.out_channels, wanted.stride),
}

# `auto` leaves the constant zero out: it is the paper's control, and never the better choice.
AUTO = ("identity", "affine", "linear")


def applicable(candidate: Candidate, wanted: str = "auto") -> tuple[str, ...]:
    """Return the substitutes called for by `wanted` that fit `candidate`, cheapest first.

    Args:
        candidate: A layer.
        wanted: A key of `SUBSTITUTES`, or `auto` for all of `AUTO`.

    Raises:
        EdgeError: If no substitute is called `wanted`.
    """
    if wanted != "auto" and wanted not in SUBSTITUTES:
        known = ", ".join([*SUBSTITUTES, "auto"])
        raise EdgeError(f"no substitute is called '{wanted}'; there are: {known}")
    names = AUTO if wanted == "auto" else (wanted,)
    return tuple(name for name in names if _fits(candidate, name))


def _fits(candidate: Candidate, substitute: str) -> bool:
    if substitute in ("identity", "affine"):
        return candidate.keeps_shape
    # A 1x1 convolution in place of a 1x1 convolution wins nothing.
    return (
        substitute == "zero"
        or not candidate.convolution
        or _linear_macs(candidate) < candidate.macs
    )


def _linear_macs(candidate: Candidate) -> int:
    return sum(
        in_shape[0] * out_shape[0] * out_shape[1] * out_shape[2]
        for in_shape, out_shape in zip(
            candidate.input_shapes, candidate.output_shapes, strict=True
        )
    )


def replacement(candidate: Candidate, substitute: str) -> Replacement:
    """Return how `substitute` would replace `candidate`."""
    return Replacement(
        layer=candidate.name,
        substitute=substitute,
        in_channels=candidate.input_shapes[0][0],
        out_channels=candidate.output_shapes[0][0],
        stride=candidate.stride,
    )


def build(wanted: Replacement) -> nn.Module:
    """Return the substitute as a module, its weights not yet solved, in eval mode."""
    return SUBSTITUTES[wanted.substitute](wanted).eval().requires_grad_(False)
