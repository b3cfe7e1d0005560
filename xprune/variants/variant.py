"""A variant of a run: an input size and a precision, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

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


def refuse_dominated(measured: list[Measured]) -> list[Measured]:
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


def _refused(one: Measured, better: Measured) -> Measured:
    reason = (
        f"slower and no better than {better.variant.name}: {one.latency_ratio:.3f} of the "
        f"latency against {better.latency_ratio:.3f}, agreement {one.agreement:.4f} against "
        f"{better.agreement:.4f}"
    )
    return Measured(one.variant, one.latency_ratio, one.agreement, refused=reason)
