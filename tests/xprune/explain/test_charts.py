"""The geometry of the charts: places on axes, bars, dots and histograms."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from xprune.explain.charts import bar_chart, distribution, scatter
from xprune.explain.scales import Scale, linear_scale, score_scale

FIGURES = st.floats(-1e12, 1e12, allow_nan=False)
SOME_FIGURES = st.lists(FIGURES, min_size=1, max_size=40)


@given(SOME_FIGURES)
def test_larger_values_never_stand_further_left(values: list[float]):
    """Every axis keeps the order of the values and stays within 0 to 100 per cent."""
    for scale in (linear_scale(values), score_scale(values)):
        places = [scale.position(value) for value in sorted(values)]

        assert places == sorted(places)
        assert all(0 <= place <= 100 for place in places)


@given(FIGURES, FIGURES)
def test_ticks_lie_on_the_axis_in_order(one: float, other: float):
    """Ticks are ascending, inside the axis, and few enough to be read."""
    assume(abs(one - other) > 1e-6 * max(abs(one), abs(other), 1e-6))
    low, high = sorted((one, other))

    for knee in (None, max(abs(low), abs(high)) / 1000):
        ticks = Scale(low, high, knee).ticks()

        assert ticks == sorted(set(ticks))
        assert all(low - 1e-8 * (high - low) <= tick for tick in ticks)
        assert all(tick <= high + 1e-8 * (high - low) for tick in ticks)
        assert len(ticks) <= 13


def test_linear_ticks_are_round():
    """Steps are 1, 2, 2.5 or 5 times a power of ten."""
    assert Scale(0.0, 0.52).ticks() == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_compressed_ticks_are_powers_of_ten():
    """A compressed axis is labelled at zero and at powers of ten that lie apart."""
    assert Scale(0.0, 300.0, knee=0.1).ticks() == pytest.approx([0.0, 0.1, 1.0, 10.0, 100.0])


def test_scores_of_like_size_stay_proportional():
    """Twice the score is twice the bar when no score dwarfs the others."""
    chart = bar_chart("l1", {"a": (1.0, None), "b": (2.0, None)}, kinds={}, selected=True)

    assert not chart.compressed
    assert chart.bars[1].width == pytest.approx(2 * chart.bars[0].width)


def test_one_huge_score_does_not_hide_the_others():
    """Bars are compressed as asinh, so a score of a thousandth is still visible."""
    scores = {f"layer.{index}": (10.0**-index, 0.0) for index in range(4)}

    chart = bar_chart("removal", scores, kinds={}, selected=True)

    assert chart.compressed
    assert chart.bars[0].width == pytest.approx(100)
    assert chart.bars[3].width == pytest.approx(
        100 * math.asinh(1e-3 / 1e-3) / math.asinh(1 / 1e-3), abs=0.01
    )


def test_negative_scores_go_left_of_zero():
    """A signed criterion has bars on both sides of one zero line."""
    chart = bar_chart("signed", {"a": (-1.0, 0.1), "b": (3.0, 0.1)}, kinds={}, selected=True)

    assert chart.zero == pytest.approx(25)
    assert (chart.bars[0].start, chart.bars[0].width) == (0, pytest.approx(25))
    assert (chart.bars[1].start, chart.bars[1].width) == (pytest.approx(25), pytest.approx(75))


def test_all_scores_zero_give_bars_without_length():
    """A criterion that says nothing is drawn as nothing, without a division by zero."""
    chart = bar_chart("random", {"a": (0.0, 0.0)}, kinds={"a": "removed"}, selected=True)

    assert chart.bars[0].width == 0
    assert chart.bars[0].kind == "removed"


def test_chosen_layers_are_numbered_and_drawn_last():
    """Numbers follow the table; number 1 lies on top, and a low score stands low."""
    points = {"a": (0.001, 5.0), "b": (0.002, 1.0), "c": (0.003, 2.0)}

    chart = scatter(points, chosen=["c", "b"])

    assert chart is not None
    assert [(dot.name, dot.number) for dot in chart.dots] == [("a", None), ("b", 2), ("c", 1)]
    assert chart.dots[0].y < chart.dots[2].y < chart.dots[1].y  # SVG counts downwards
    assert chart.dots[0].x < chart.dots[1].x < chart.dots[2].x


def test_nothing_to_draw_is_no_chart():
    """Without points or samples there is no empty drawing."""
    assert scatter({}, chosen=[]) is None
    assert distribution({"before": [], "after": []}) is None


def test_histograms_share_an_axis_and_count_what_is_beyond_it():
    """Medians stand where the shared axis has them; the slowest runs are counted, not drawn."""
    rng = np.random.default_rng(0)
    samples = {"before": rng.normal(0.020, 0.001, 500), "after": rng.normal(0.016, 0.001, 500)}
    samples["after"][3] = 1.0

    chart = distribution({name: values.tolist() for name, values in samples.items()})

    assert chart is not None
    before, after = chart.histograms
    end = max(np.quantile(values, 0.99) for values in samples.values())
    assert [before.beyond, after.beyond] == [(v > end).sum() for v in samples.values()]
    span_s = (
        (before.median.at - after.median.at) / 100 * (end - min(map(min, samples.values())))
    )
    medians = [statistics.median(values) for values in samples.values()]
    assert span_s * 1.06 == pytest.approx(medians[0] - medians[1], rel=1e-3)  # 3 % margins
    assert max(column.height for column in after.columns) == 100


def test_samples_that_are_all_alike_have_an_axis():
    """A clock too coarse to tell runs apart gives one column, not an error."""
    chart = distribution({"before": [0.010] * 20})

    assert chart is not None
    assert len(chart.histograms[0].columns) == 1
