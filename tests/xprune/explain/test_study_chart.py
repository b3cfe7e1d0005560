"""The geometry of a study's plot."""

from __future__ import annotations

from typing import Any

import pytest

from xprune.explain.study_chart import ArmFigure, StudyPlot, study_plot


def figure(place: str, arm: str, value: float, **more: Any) -> ArmFigure:
    """Return a figure with a narrow interval."""
    given = {"ours": False, "hollow": False, "family": arm.split()[0], **more}
    return ArmFigure(place, arm, value, (value - 0.01, value + 0.01), **given)


@pytest.fixture
def plot() -> StudyPlot:
    """Two places with three arms and one."""
    found = study_plot(
        [
            figure("a", "l1 zeroed", 1.0, hollow=True),
            figure("a", "l1 removed", 0.8),
            figure("a", "ours", 0.6, ours=True),
            figure("b", "grad_act removed", 1.2),
        ],
        name="latency",
    )
    assert found is not None
    return found


def test_places_lie_one_under_the_other(plot: StudyPlot) -> None:
    """As high as their marks need, which lie one under the other as well."""
    first, second = plot.lines

    assert (first.name, second.name) == ("a", "b")
    assert (first.top, first.bottom) == (0, second.top)
    assert second.bottom == plot.height
    heights = [mark.y for mark in (*first.marks, *second.marks)]
    assert heights == sorted(heights)
    assert all(first.top < mark.y < first.bottom for mark in first.marks)


def test_less_lies_further_left(plot: StudyPlot) -> None:
    """With the interval around it, and the unpruned network's place where 1 is."""
    marks = [mark for line in plot.lines for mark in line.marks]

    assert marks[2].x < marks[1].x < marks[0].x == plot.one < marks[3].x
    assert all(mark.low < mark.x < mark.high for mark in marks)
    assert marks[2].hint == "a, ours: 0.600 of the latency (0.590 to 0.610)"


def test_a_criterion_has_one_colour_and_ours_its_own(plot: StudyPlot) -> None:
    """What is only zeroed is hollow."""
    zeroed, removed, ours, other = plot.styles

    assert (zeroed.shape, zeroed.colour) == (removed.shape, removed.colour)
    assert (zeroed.hollow, removed.hollow) == (True, False)
    assert (ours.shape, ours.colour) == ("circle", "ours0")
    assert other.colour not in (removed.colour, ours.colour)


def test_nothing_is_no_plot() -> None:
    """Where nothing was measured."""
    assert study_plot([], name="accuracy") is None
