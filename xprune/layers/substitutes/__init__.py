"""What can stand in a removed layer's place, cheapest first.

Their weights are not trained but solved, from the layer's own inputs to its own outputs: each
file says how.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import nn

from runtime_bench.errors import EdgeError
from xprune.layers.candidates import Candidate
from xprune.layers.chains import Chain
from xprune.layers.moments import View
from xprune.layers.substitutes.affine import Affine
from xprune.layers.substitutes.clip import Clip
from xprune.layers.substitutes.constant import Zero
from xprune.layers.substitutes.convolution import OneConvolution
from xprune.layers.substitutes.depthwise import Depthwise
from xprune.layers.substitutes.linear import Linear
from xprune.layers.substitutes.lowrank import LowRank
from xprune.layers.substitutes.replacement import Replacement
from xprune.layers.substitutes.thin import thin_copy

__all__ = [
    "AUTO",
    "FAMILIES",
    "REMOVED",
    "SOLVED",
    "SUBSTITUTES",
    "Affine",
    "Clip",
    "Depthwise",
    "Linear",
    "LowRank",
    "OneConvolution",
    "Replacement",
    "Solved",
    "Zero",
    "applicable",
    "build",
    "replacement",
    "rounded",
    "saved_macs",
    "substitute_macs",
]

# A richer substitute must win clearly; its own fit costs accuracy too.
MOST_MACS_SHARE = 0.75
# A thinner copy is the layer itself but for what the reader misses least.
MOST_THIN_SHARE = 0.9
LOWRANK_PERCENT = (25, 50)
THIN_PERCENT = (25, 50, 62, 75, 87)
WIDEST_BLOCK = 256


class Solved(Protocol):
    """A substitute with weights of its own, which one regression gives.

    Attributes:
        view: What an output pixel depends on.
        in_channels: Channels of its input.
        out_channels: Channels of its output.
    """

    view: View
    in_channels: int
    out_channels: int

    def solve(self, moments: Any) -> float:
        """Set the weights and return the share of the outputs' variance that they miss."""
        ...


SOLVED = (Affine, Linear, Depthwise, LowRank, OneConvolution, Clip)


@dataclass(frozen=True)
class Substitute:
    """One rung of the ladder.

    Attributes:
        build: Returns the module, its weights not yet solved, from the layer that goes.
        fits: Whether it can take a layer's place at all; what it costs is asked elsewhere.
        macs: Multiply-adds of a replacement for one input and one output pixel.
        inner: Channels between its two convolutions, where it has two.
        sees_window: Whether an output pixel depends on its neighbours.
        thinned: The chains that a thinner copy keeps some channels of, with their number.
    """

    build: Callable[[Replacement, nn.Module | None], nn.Module]
    fits: Callable[[Candidate], bool]
    macs: Callable[[Replacement], tuple[int, int]]
    inner: Callable[[Candidate], int] = lambda candidate: 0
    sees_window: bool = False
    thinned: Callable[[Candidate], tuple[Chain, ...]] = lambda candidate: ()


def _keeps_shape(candidate: Candidate) -> bool:
    return candidate.keeps_shape


def _is_convolutional(candidate: Candidate) -> bool:
    # A block around one convolution is left to the convolution: its target is linear.
    return candidate.convolution or _is_block(candidate)


def _is_block(candidate: Candidate) -> bool:
    # The time to fit grows with the cube of the channels, and wider blocks gain a hundredth of
    # the variance over `linear`.
    return candidate.convolutions > 1 and candidate.input_shapes[0][0] <= WIDEST_BLOCK


def _has_level(percent: int, candidate: Candidate) -> bool:
    """Whether the level makes a narrower layer, and not the same one as a lower level."""
    inner = inner_channels(percent, candidate)
    lower = (inner_channels(other, candidate) for other in LOWRANK_PERCENT if other < percent)
    return inner < candidate.output_shapes[0][0] and inner not in lower


def _lowrank(percent: int) -> Substitute:
    return Substitute(
        build=lambda wanted, layer: LowRank(
            wanted.in_channels,
            wanted.out_channels,
            inner_channels=wanted.inner_channels,
            kernel=wanted.kernel,
            stride=wanted.stride,
        ),
        fits=lambda candidate: _is_convolutional(candidate) and _has_level(percent, candidate),
        macs=lambda wanted: (
            0,
            wanted.inner_channels
            * (_window(wanted) * wanted.in_channels + wanted.out_channels),
        ),
        inner=lambda candidate: inner_channels(percent, candidate),
        sees_window=True,
    )


def _thin(percent: int) -> Substitute:
    return Substitute(
        build=lambda wanted, layer: thin_copy(layer, wanted.chains),
        fits=lambda candidate: _is_thinner(percent, candidate),
        macs=lambda wanted: (0, 0),  # a share of the layer's own, see `substitute_macs`
        thinned=lambda candidate: _thinner(percent, candidate),
    )


def _is_thinner(percent: int, candidate: Candidate) -> bool:
    """Whether the level makes a thinner block, and not the same one as a lower level."""
    chains = _thinner(percent, candidate)
    lower = (_thinner(other, candidate) for other in THIN_PERCENT if other < percent)
    return bool(chains) and chains not in lower


def _thinner(percent: int, candidate: Candidate) -> tuple[Chain, ...]:
    """Return the chains that get thinner; none where none does."""
    whole = candidate.chains
    shares = tuple(rounded(chain.channels * percent / 100) for chain in whole)
    widths = candidate.widths.get(f"thin-{percent}", shares)
    pairs = zip(whole, widths, strict=True)
    return tuple(
        replace(chain, channels=width) for chain, width in pairs if width < chain.channels
    )


SUBSTITUTES: dict[str, Substitute] = {
    "zero": Substitute(  # the seed paper's zeroing
        build=lambda wanted, layer: Zero(wanted.out_channels, wanted.stride),
        fits=lambda candidate: True,
        macs=lambda wanted: (0, 0),
    ),
    "identity": Substitute(  # the seed paper's bypass
        build=lambda wanted, layer: nn.Identity(), fits=_keeps_shape, macs=lambda wanted: (0, 0)
    ),
    "affine": Substitute(
        build=lambda wanted, layer: Affine(wanted.out_channels),
        fits=_keeps_shape,
        macs=lambda wanted: (0, wanted.out_channels),
    ),
    "linear": Substitute(
        build=lambda wanted, layer: Linear(
            wanted.in_channels, wanted.out_channels, wanted.stride, bias=wanted.bias
        ),
        fits=lambda candidate: True,
        macs=lambda wanted: (0, wanted.in_channels * wanted.out_channels),
    ),
    "depthwise": Substitute(
        build=lambda wanted, layer: Depthwise(
            wanted.in_channels, wanted.out_channels, kernel=wanted.kernel, stride=wanted.stride
        ),
        fits=_is_convolutional,
        macs=lambda wanted: (
            wanted.in_channels * wanted.out_channels,
            _window(wanted) * wanted.out_channels,
        ),
        sees_window=True,
    ),
    **{f"lowrank-{percent}": _lowrank(percent) for percent in LOWRANK_PERCENT},
    "convolution": Substitute(
        build=lambda wanted, layer: OneConvolution(
            wanted.in_channels, wanted.out_channels, kernel=wanted.kernel, stride=wanted.stride
        ),
        fits=_is_block,
        macs=lambda wanted: (0, _window(wanted) * wanted.in_channels * wanted.out_channels),
        sees_window=True,
    ),
    **{f"thin-{percent}": _thin(percent) for percent in THIN_PERCENT},
    "clip": Substitute(
        build=lambda wanted, layer: Clip(wanted.out_channels),
        fits=lambda candidate: candidate.activation,
        macs=lambda wanted: (0, 0),
    ),
}

# `auto` leaves the constant zero out: it is the paper's control, and never the better choice.
AUTO = tuple(name for name in SUBSTITUTES if name != "zero")
# Of these, those that leave nothing of a layer but a map of pixels one by one.
REMOVED = ("identity", "affine", "linear")
# A family's name stands for all of its levels.
FAMILIES: dict[str, tuple[str, ...]] = {
    "lowrank": tuple(f"lowrank-{percent}" for percent in LOWRANK_PERCENT),
    "thin": tuple(f"thin-{percent}" for percent in THIN_PERCENT),
}


def applicable(candidate: Candidate, wanted: str = "auto") -> tuple[str, ...]:
    """Return the substitutes called for by `wanted` that fit `candidate`, cheapest first.

    Args:
        candidate: A layer.
        wanted: A key of `SUBSTITUTES` or `FAMILIES`, or `auto` for all of `AUTO`.

    Raises:
        EdgeError: If no substitute is called `wanted`.
    """
    if wanted != "auto" and wanted not in SUBSTITUTES and wanted not in FAMILIES:
        known = ", ".join([*SUBSTITUTES, *FAMILIES, "auto"])
        raise EdgeError(f"no substitute is called '{wanted}'; there are: {known}")
    names = AUTO if wanted == "auto" else FAMILIES.get(wanted, (wanted,))
    # A level is the same whichever chains become how thin: timings may be older than scores.
    plain = replace(candidate, widths={})
    fitting = [name for name in names if _fits(plain, name)]
    return tuple(sorted(fitting, key=lambda name: substitute_macs(plain, name)))


def substitute_macs(candidate: Candidate, substitute: str) -> int:
    """Return the multiply-adds of a substitute for one picture, over all calls of the layer."""
    wanted = replacement(candidate, substitute)
    if wanted.chains:
        return candidate.macs - saved_macs(candidate, wanted.chains)
    per_input, per_output = SUBSTITUTES[substitute].macs(wanted)
    return candidate.maps * sum(
        per_input * in_shape[1] * in_shape[2] + per_output * out_shape[1] * out_shape[2]
        for in_shape, out_shape in zip(
            candidate.input_shapes, candidate.output_shapes, strict=True
        )
    )


def replacement(candidate: Candidate, substitute: str) -> Replacement:
    """Return how `substitute` would replace `candidate`."""
    rung = SUBSTITUTES[substitute]
    plain = Replacement(
        layer=candidate.name,
        substitute=substitute,
        in_channels=candidate.input_shapes[0][0],
        out_channels=candidate.output_shapes[0][0],
        stride=candidate.stride,
    )
    if not rung.sees_window:
        bias = not (substitute == "linear" and candidate.before_padding)
        return replace(plain, chains=rung.thinned(candidate), bias=bias)
    return replace(plain, kernel=candidate.kernel, inner_channels=rung.inner(candidate))


def build(wanted: Replacement, layer: nn.Module | None = None) -> nn.Module:
    """Return the substitute, its weights not yet solved, in eval mode.

    Args:
        wanted: What takes the place of what.
        layer: The layer that goes; only a thinner copy of it looks at it.
    """
    return SUBSTITUTES[wanted.substitute].build(wanted, layer).eval().requires_grad_(False)


def inner_channels(percent: int, candidate: Candidate) -> int:
    """Return a share of the output's channels, rounded to what a processor computes at once."""
    return rounded(candidate.output_shapes[0][0] * percent / 100)


def rounded(channels: float) -> int:
    """Return a multiple of 8, from 16 on of 16: vectors of a processor are that wide."""
    step = 8 if channels < 16 else 16
    return max(8, step * int(channels / step + 0.5))


def _fits(candidate: Candidate, substitute: str) -> bool:
    rung = SUBSTITUTES[substitute]
    if candidate.activation != (substitute == "clip") or not rung.fits(candidate):
        return False
    if rung.sees_window or substitute in FAMILIES["thin"]:
        most = MOST_MACS_SHARE if rung.sees_window else MOST_THIN_SHARE
        return substitute_macs(candidate, substitute) <= most * candidate.macs
    # A 1x1 convolution in place of a 1x1 convolution wins nothing.
    is_linear = substitute == "linear" and candidate.convolution
    return not is_linear or substitute_macs(candidate, substitute) < candidate.macs


def saved_macs(candidate: Candidate, chains: tuple[Chain, ...]) -> int:
    """Return what thinner chains save; one convolution may end one and start the next."""
    share = dict.fromkeys(candidate.chain_macs, 1.0)
    for kept in chains:
        (whole,) = (chain for chain in candidate.chains if chain.reader == kept.reader)
        for name in kept.convolutions:
            share[name] *= kept.channels / whole.channels
    return sum(int(macs * (1 - share[name])) for name, macs in candidate.chain_macs.items())


def _window(wanted: Replacement) -> int:
    return wanted.kernel[0] * wanted.kernel[1]
