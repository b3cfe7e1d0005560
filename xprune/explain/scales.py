"""Where a value stands on an axis: linear, or compressed when sizes differ too much."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# A value this many times the median would flatten all the others on a linear axis.
_CROWDED = 5.0
_TICK_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A map from values to per cent of an axis.

    Attributes:
        low: The value at 0 %.
        high: The value at 100 %, more than `low`.
        knee: None for a linear axis. Otherwise the axis is `asinh(value / knee)`: linear up to
            about the knee, logarithmic beyond; unlike a logarithm it has a zero and a below.
    """

    low: float
    high: float
    knee: float | None = None

    def position(self, value: float) -> float:
        """Return where `value` stands, in per cent from the low end, kept inside the axis."""
        start, end = self._bent(self.low), self._bent(self.high)
        return min(100.0, max(0.0, 100.0 * (self._bent(value) - start) / (end - start)))

    def ticks(self, count: int = 6) -> list[float]:
        """Return about `count` round values on the axis, in ascending order."""
        if self.knee is None:
            return _round_steps(self.low, self.high, count)
        return _apart(_powers(self.low, self.high), self, least=100.0 / (2.0 * count))

    def _bent(self, value: float) -> float:
        return value if self.knee is None else math.asinh(value / self.knee)


def linear_scale(values: Sequence[float], *, margin: float = 0.0) -> Scale:
    """Return a linear axis over the values, widened at both ends by a share of their span."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    # Far beyond any real figure a span would overflow; such a value is drawn at the edge.
    low, high = max(low, -1e300), min(high, 1e300)
    if high <= low:
        high = low + (abs(low) * 0.1 or 1.0)
    padding = (high - low) * margin
    return Scale(low - padding, high + padding)


def score_scale(values: Sequence[float]) -> Scale:
    """Return an axis for scores: it contains zero, and small scores stay visible on it."""
    linear = linear_scale([0.0, *values])
    sizes = sorted(abs(value) for value in values if value != 0)
    if not sizes or sizes[-1] <= _CROWDED * statistics.median(sizes):
        return linear
    knee = max(sizes[len(sizes) // 10], sizes[-1] * 1e-6)
    return Scale(linear.low, linear.high, knee)


def _round_steps(low: float, high: float, count: int) -> list[float]:
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in _TICK_STEPS if step * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _powers(low: float, high: float) -> list[float]:
    top = math.floor(math.log10(max(abs(low), abs(high))))
    sizes = [10.0**exponent for exponent in range(top, top - 8, -1)]
    both = [0.0, *sizes, *(-size for size in sizes)]
    # Zero first, then from the largest down: that is the order in which ticks are wanted.
    return [value for value in both if low <= value <= high]


def _apart(values: list[float], scale: Scale, *, least: float) -> list[float]:
    kept: list[float] = []
    for value in values:
        here = scale.position(value)
        if all(abs(here - scale.position(other)) >= least for other in kept):
            kept.append(value)
    return sorted(kept)
