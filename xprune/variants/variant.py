"""A variant of a run: an input size and a precision, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

Size = tuple[int, int]


@dataclass(frozen=True)
class Variant:
    """An input size (height, width) in pixels, and a precision."""

    size: Size
    precision: str

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.size[0]}x{self.size[1]}-{self.precision}"

    @property
    def area(self) -> int:
        """Of its input, in pixels."""
        return self.size[0] * self.size[1]

    def covers(self, other: Variant) -> bool:
        """Return whether its input is no smaller than another one's on either side."""
        return self.size[0] >= other.size[0] and self.size[1] >= other.size[1]


@dataclass(frozen=True)
class Measured:
    """A variant of the unpruned model, and what became of it.

    Attributes:
        variant: Size and precision.
        latency_ratio: Its latency, rewritten, over that of the unpruned base.
        agreement: AP on calibration pictures against what is known or believed to be there.
        refused: Why it was not tried further, in words; None if it was.
        after: Agreement once layers were replaced to reach what was asked; None if not tried.
        layers: How many were replaced; None if not tried.
    """

    variant: Variant
    latency_ratio: float
    agreement: float
    refused: str | None = None
    after: float | None = None
    layers: int | None = None


# What a variant lacks in speed is asked of its layers, but no more than this.
LEAST_FROM_LAYERS = 0.62


def judged(measured: Sequence[Measured], goal: float) -> list[Measured]:
    """Return variants in order of latency; those that cannot be the best one are refused.

    Args:
        measured: As they were measured, none refused.
        goal: The share of the base's latency that is wanted.
    """
    return [_out_of_reach(one, goal) for one in refuse_dominated(measured)]


def refuse_dominated(measured: Sequence[Measured]) -> list[Measured]:
    """Return the variants in order of latency; whoever is slower and no better is refused."""
    in_order = sorted(measured, key=lambda one: (one.latency_ratio, -one.agreement))
    result: list[Measured] = []
    best: Measured | None = None
    for one in in_order:
        if best is not None and one.agreement <= best.agreement:
            result.append(_refused(one, best))
        else:
            result.append(one)
            best = one
    return result


def _out_of_reach(one: Measured, goal: float) -> Measured:
    """Return a variant, refused if layers would have to give more than they can."""
    needed = goal / one.latency_ratio
    if one.refused or needed >= LEAST_FROM_LAYERS:
        return one
    reason = (
        f"too slow: layers would have to leave {needed:.2f} of its time, and a plan is asked "
        f"for {LEAST_FROM_LAYERS} at least"
    )
    return replace(one, refused=reason)


def _refused(one: Measured, better: Measured) -> Measured:
    reason = (
        f"slower and no better than {better.variant.name}: {one.latency_ratio:.3f} of the "
        f"latency against {better.latency_ratio:.3f}, agreement {one.agreement:.4f} against "
        f"{better.agreement:.4f}"
    )
    return Measured(one.variant, one.latency_ratio, one.agreement, refused=reason)
