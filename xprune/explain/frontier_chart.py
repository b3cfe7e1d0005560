"""The geometry of the plot of accuracy against latency, in per cent of the drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xprune.explain import wording
from xprune.explain.charts import Tick
from xprune.explain.scales import Scale, linear_scale

# Less than this share of the unpruned model's accuracy is drawn at the lower edge: on an axis
# down to nothing the methods that are worth comparing would lie on each other.
LEAST_SHARE = 0.6
# Marks repeat their shapes after so many methods, and their colours after so many others.
SHAPES = ("circle", "square", "diamond", "triangle", "cross", "plus", "bar")
COLOURS = 6
UNPRUNED = "unpruned"


@dataclass(frozen=True)
class FrontierPoint:
    """One artifact to draw.

    Attributes:
        method: What made it.
        latency: As a share of the unpruned model's.
        accuracy: From 0 to 1.
        interval: Its 95 % interval.
        detail: What else is said on hovering.
        ours: Whether its method is ours.
    """

    method: str
    latency: float
    accuracy: float
    interval: tuple[float, float]
    detail: str
    ours: bool


@dataclass(frozen=True)
class Mark:
    """A drawn point; places in per cent from the left and from the top."""

    x: float
    y: float
    low: float
    high: float
    below: bool
    hint: str


@dataclass(frozen=True)
class Series:
    """The points of one method, from fast to slow; ours are joined by a line."""

    method: str
    shape: str
    colour: str
    joined: bool
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class FrontierPlot:
    """Accuracy (upwards) against latency (rightwards)."""

    series: tuple[Series, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    budgets: tuple[Tick, ...]
    any_below: bool


def frontier_plot(
    points: Sequence[FrontierPoint],
    *,
    unpruned: float,
    figure: str = "AP",
    budgets: Sequence[float],
) -> FrontierPlot:
    """Lay out a frontier; the unpruned model stands at a latency of 1.

    Args:
        points: In any order; methods keep the order in which they first come.
        unpruned: The unpruned model's accuracy.
        figure: What accuracy is told by.
        budgets: Latencies that were asked for.
    """
    across = linear_scale([1.0, *budgets, *(point.latency for point in points)], margin=0.05)
    floor = LEAST_SHARE * unpruned
    shown = [point for point in points if point.accuracy >= floor]
    upwards = linear_scale(
        [floor, unpruned, *(point.interval[1] for point in shown)], margin=0.04
    )
    by_method: dict[str, list[FrontierPoint]] = {}
    for point in points:
        by_method.setdefault(point.method, []).append(point)
    start = FrontierPoint(UNPRUNED, 1.0, unpruned, (unpruned, unpruned), "", ours=False)
    series = [_series(UNPRUNED, [start], ("circle", "base"), across, upwards, figure)]
    series += [
        _series(method, found, style, across, upwards, figure)
        for (method, found), style in zip(by_method.items(), _styles(by_method), strict=True)
    ]
    return FrontierPlot(
        series=tuple(series),
        x_ticks=_ticks(across, upside_down=False, digits=2),
        y_ticks=_ticks(upwards, upside_down=True, digits=3),
        budgets=tuple(
            Tick(round(across.position(budget), 3), f"{budget:g}") for budget in budgets
        ),
        any_below=len(shown) < len(points),
    )


def _styles(by_method: Mapping[str, Sequence[FrontierPoint]]) -> list[tuple[str, str]]:
    """Return shape and colour of each method: ours are circles of their own colour."""
    styles, ours, others = [], 0, 0
    for points in by_method.values():
        if points[0].ours:
            styles.append(("circle", f"ours{min(ours, 1)}"))
            ours += 1
        else:
            shape = SHAPES[1:][others % (len(SHAPES) - 1)]
            styles.append((shape, f"other{others % COLOURS}"))
            others += 1
    return styles


def _series(
    method: str,
    points: Sequence[FrontierPoint],
    style: tuple[str, str],
    across: Scale,
    upwards: Scale,
    figure: str,
) -> Series:
    marks = [
        Mark(
            x=round(across.position(point.latency), 3),
            y=round(100 - upwards.position(point.accuracy), 3),
            low=round(100 - upwards.position(point.interval[0]), 3),
            high=round(100 - upwards.position(point.interval[1]), 3),
            below=point.accuracy < upwards.low,
            hint=f"{method}: {figure} {wording.fixed(point.accuracy, 4)} at "
            f"{wording.fixed(point.latency, 3)} of the latency{point.detail}",
        )
        for point in sorted(points, key=lambda point: point.latency)
    ]
    return Series(method, style[0], style[1], points[0].ours, tuple(marks))


def _ticks(scale: Scale, *, upside_down: bool, digits: int) -> tuple[Tick, ...]:
    places = ((scale.position(value), value) for value in scale.ticks(6))
    return tuple(
        Tick(round(100 - at if upside_down else at, 3), wording.fixed(value, digits))
        for at, value in places
    )
