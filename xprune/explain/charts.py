"""The geometry of the report's charts, in per cent of the drawing; the template draws them.

Only numbers and names leave this module, never markup, so a hostile layer name meets the
template's escaping like any other text.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xprune.explain import wording
from xprune.explain.scales import Scale, linear_scale, score_scale

_BINS = 64


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in per cent from its low end."""

    at: float
    label: str


@dataclass(frozen=True)
class Bar:
    """One layer's score.

    Attributes:
        name: The layer.
        kind: `removed`, `inside` (gone with a removed block around it) or `kept`.
        start: Left end in per cent.
        width: Length in per cent.
        value: The score in words.
        hint: The longer words shown on hovering.
    """

    name: str
    kind: str
    start: float
    width: float
    value: str
    hint: str


@dataclass(frozen=True)
class BarChart:
    """The scores of one criterion (for one substitute), in network order."""

    label: str
    bars: tuple[Bar, ...]
    zero: float
    compressed: bool
    selected: bool


@dataclass(frozen=True)
class Dot:
    """One layer in the plane of time saved and score; `number` is set on chosen ones."""

    name: str
    x: float
    y: float
    hint: str
    number: int | None = None


@dataclass(frozen=True)
class Scatter:
    """Score (upwards) against time saved (rightwards)."""

    dots: tuple[Dot, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    nothing_saved: float
    compressed: bool


@dataclass(frozen=True)
class Column:
    """One bin of a histogram; place, width and height in per cent."""

    x: float
    width: float
    height: float


@dataclass(frozen=True)
class Histogram:
    """One model's latency samples on the shared axis."""

    label: str
    kind: str
    columns: tuple[Column, ...]
    median: Tick
    p90: Tick
    runs: int
    beyond: int


@dataclass(frozen=True)
class Distribution:
    """The latency samples of both models on one axis."""

    histograms: tuple[Histogram, ...]
    ticks: tuple[Tick, ...]
    end: str


def bar_chart(
    label: str,
    scores: Mapping[str, tuple[float, float | None]],
    *,
    kinds: Mapping[str, str],
    selected: bool,
) -> BarChart:
    """Lay out one criterion's scores.

    Args:
        label: The criterion's name for the reader.
        scores: Layer, in network order, to mean and standard deviation over the pictures.
        kinds: Layer to `removed` or `inside`; the others are kept.
        selected: Whether this chart is shown first.
    """
    scale = score_scale([mean for mean, _ in scores.values()])
    zero = scale.position(0.0)
    bars = []
    for name, (mean, std) in scores.items():
        end = scale.position(mean)
        # Per layer, not per picture, for the criteria that look at weights alone.
        spread = "" if std is None else f" (standard deviation {wording.score(std)})"
        bars.append(
            Bar(
                name=name,
                kind=kinds.get(name, "kept"),
                start=round(min(zero, end), 3),
                width=round(abs(end - zero), 3),
                value=wording.score(mean),
                hint=f"{name}: {wording.score(mean)}{spread}",
            )
        )
    return BarChart(label, tuple(bars), round(zero, 3), scale.knee is not None, selected)


def scatter(
    points: Mapping[str, tuple[float, float]], *, chosen: Sequence[str]
) -> Scatter | None:
    """Lay out score against time saved, the chosen layers last, so that they lie on top.

    Args:
        points: Layer to seconds saved and score.
        chosen: The removed layers in the order of their table, which numbers them from 1.

    Returns:
        None when there is no point to draw.
    """
    if not points:
        return None
    across = linear_scale([0.0, *(saved for saved, _ in points.values())], margin=0.04)
    upwards = score_scale([value for _, value in points.values()])
    numbers = {name: index for index, name in enumerate(chosen, start=1)}
    dots = [
        Dot(
            name=name,
            x=round(across.position(saved), 3),
            y=round(100.0 - upwards.position(value), 3),
            hint=_dot_hint(name, saved, value),
            number=numbers.get(name),
        )
        for name, (saved, value) in points.items()
    ]
    return Scatter(
        # The first chosen one last: where two overlap, the smaller number stays readable.
        dots=tuple(sorted(dots, key=lambda dot: -(dot.number or len(numbers) + 1))),
        x_ticks=_time_ticks(across),
        y_ticks=tuple(
            Tick(round(100.0 - upwards.position(tick), 3), wording.text_of(tick))
            for tick in upwards.ticks(5)
        ),
        nothing_saved=across.position(0.0),
        compressed=upwards.knee is not None,
    )


def distribution(samples_s: Mapping[str, Sequence[float]]) -> Distribution | None:
    """Lay out latency samples on one axis.

    The axis ends at the largest 99th percentile, so that one slow run does not squeeze the
    rest; what lies beyond is counted.

    Args:
        samples_s: `before` and `after`, as far as measured, to seconds per inference.

    Returns:
        None when nothing was measured.
    """
    measured = {label: values for label, values in samples_s.items() if values}
    if not measured:
        return None
    end_s = max(float(np.quantile(values, 0.99)) for values in measured.values())
    start_s = min(min(values) for values in measured.values())
    scale = linear_scale([start_s, end_s], margin=0.03)
    return Distribution(
        histograms=tuple(
            _histogram(label, values, scale=scale, end_s=end_s)
            for label, values in measured.items()
        ),
        ticks=_time_ticks(scale),
        end=wording.milliseconds(end_s),
    )


def _dot_hint(name: str, saved_s: float, value: float) -> str:
    return f"{name}: saves {wording.milliseconds(saved_s)} ms, score {wording.score(value)}"


def _histogram(label: str, values: Sequence[float], *, scale: Scale, end_s: float) -> Histogram:
    shown = [value for value in values if value <= end_s]
    counts, edges = np.histogram(shown, bins=_BINS, range=(scale.low, scale.high))
    highest = max(1, int(counts.max()))
    width = 100.0 / _BINS
    return Histogram(
        label=label.capitalize(),
        kind=label,
        columns=tuple(
            Column(round(scale.position(edge), 3), width, round(100 * count / highest, 2))
            for edge, count in zip(edges[:-1].tolist(), counts.tolist(), strict=True)
            if count
        ),
        median=_time_tick(scale, statistics.median(values)),
        p90=_time_tick(scale, float(np.quantile(values, 0.9))),
        runs=len(values),
        beyond=len(values) - len(shown),
    )


def _time_ticks(scale: Scale) -> tuple[Tick, ...]:
    ticks_ms = Scale(scale.low * 1000, scale.high * 1000).ticks()
    step = ticks_ms[1] - ticks_ms[0] if len(ticks_ms) > 1 else 1.0
    digits = next((digits for digits in range(6) if step * 10**digits >= 0.999), 6)
    digits += step * 10**digits % 1 > 1e-6  # a step of 2.5 has one decimal more
    return tuple(
        Tick(round(scale.position(tick / 1000), 3), wording.fixed(tick + 0.0, digits))
        for tick in ticks_ms
    )


def _time_tick(scale: Scale, seconds: float) -> Tick:
    return Tick(round(scale.position(seconds), 3), wording.milliseconds(seconds))
