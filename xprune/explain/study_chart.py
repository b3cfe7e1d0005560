"""The geometry of a study's plot: a line for each architecture and ratio, a mark per arm."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from xprune.explain import wording
from xprune.explain.charts import Tick
from xprune.explain.scales import Scale, linear_scale

ROW_PX, MARK_PX = 22, 14
# Ours is drawn as in the frontier; what is zeroed is hollow, what is removed is filled.
SHAPES = ("square", "diamond", "triangle", "cross", "plus")


@dataclass(frozen=True)
class ArmFigure:
    """One figure to draw.

    Attributes:
        place: Architecture and ratio, in words.
        arm: What was done, in words.
        value: A share of the unpruned network's.
        interval: Its 95 % interval.
        ours: Whether the arm is our default.
        hollow: Whether nothing was cut.
        family: Arms of the same one get the same colour.
    """

    place: str
    arm: str
    value: float
    interval: tuple[float, float]
    ours: bool
    hollow: bool
    family: str


@dataclass(frozen=True)
class ArmMark:
    """A drawn figure; x in per cent from the left, y in pixels from the top."""

    x: float
    y: float
    low: float
    high: float
    style: ArmStyle
    hint: str


@dataclass(frozen=True)
class ArmStyle:
    """How the marks of one arm look."""

    arm: str
    shape: str
    colour: str
    hollow: bool


@dataclass(frozen=True)
class PlaceLine:
    """What lies on one line: its name, its edges in pixels, and its marks."""

    name: str
    top: int
    bottom: int
    marks: tuple[ArmMark, ...]


@dataclass(frozen=True)
class StudyPlot:
    """Lines from top to bottom, `height` pixels in all; `one` is where nothing changes."""

    lines: tuple[PlaceLine, ...]
    styles: tuple[ArmStyle, ...]
    ticks: tuple[Tick, ...]
    one: float
    height: int


def study_plot(figures: Sequence[ArmFigure], *, name: str) -> StudyPlot | None:
    """Lay out figures; None if there are none.

    Args:
        figures: In any order; places and arms keep the order in which they first come.
        name: What the figure is, for the hints.
    """
    if not figures:
        return None
    ends = [end for figure in figures for end in figure.interval]
    across = linear_scale([1.0, *ends], margin=0.04)
    styles = _styles(figures)
    lines: list[PlaceLine] = []
    top = 0
    for place in dict.fromkeys(figure.place for figure in figures):
        found = [figure for figure in figures if figure.place == place]
        heights = itertools.count(top + ROW_PX // 2, MARK_PX)
        marks = tuple(
            _mark(figure, styles[figure.arm], across, y=y, name=name)
            for figure, y in zip(found, heights, strict=False)
        )
        bottom = top + ROW_PX + MARK_PX * (len(found) - 1)
        lines.append(PlaceLine(place, top, bottom, marks))
        top = bottom
    ticks = tuple(
        Tick(round(across.position(value), 3), wording.fixed(value, 2))
        for value in across.ticks(8)
    )
    return StudyPlot(
        tuple(lines), tuple(styles.values()), ticks, round(across.position(1.0), 3), top
    )


def _styles(figures: Sequence[ArmFigure]) -> dict[str, ArmStyle]:
    families = list(dict.fromkeys(figure.family for figure in figures if not figure.ours))
    styles = {}
    for figure in figures:
        if figure.ours:
            styles[figure.arm] = ArmStyle(figure.arm, "circle", "ours0", figure.hollow)
            continue
        at = families.index(figure.family)
        styles[figure.arm] = ArmStyle(
            figure.arm, SHAPES[at % len(SHAPES)], f"other{at % 6}", figure.hollow
        )
    return styles


def _mark(figure: ArmFigure, style: ArmStyle, across: Scale, *, y: int, name: str) -> ArmMark:
    low, high = figure.interval
    return ArmMark(
        x=round(across.position(figure.value), 3),
        y=y,
        low=round(across.position(low), 3),
        high=round(across.position(high), 3),
        style=style,
        hint=f"{figure.place}, {figure.arm}: {wording.fixed(figure.value, 3)} of the {name} "
        f"({wording.fixed(low, 3)} to {wording.fixed(high, 3)})",
    )
