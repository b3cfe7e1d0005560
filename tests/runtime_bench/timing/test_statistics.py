"""What is said of times: as numpy says it, and nothing that too few samples would say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.errors import EdgeError
from runtime_bench.timing.statistics import by_minute, percentile, statistics_of


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 50))
def test_percentiles_are_those_of_numpy(samples: list[float], q: float) -> None:
    """Interpolation between neighbours is numpy's default."""
    assert percentile(samples, q) == pytest.approx(np.percentile(samples, q), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "q", "least"), [("p90", 90, 100), ("p95", 95, 200), ("p99", 99, 1000)]
)
def test_a_percentile_needs_ten_samples_beyond_it(name: str, q: float, least: int) -> None:
    """With fewer there is none, and none is made up."""
    assert getattr(statistics_of(range(least - 1)), name) is None
    assert getattr(statistics_of(range(least)), name) == pytest.approx(
        np.percentile(range(least), q)
    )


def test_a_percentile_of_nothing_is_an_error() -> None:
    """No samples, no percentile."""
    with pytest.raises(EdgeError, match="no samples"):
        percentile([], 50)


def test_nothing_is_clipped() -> None:
    """The slowest run is in the maximum and in the mean, and hardly in the rest."""
    found = statistics_of([0.01, 0.011] * 50 + [9.0])

    assert found.max == 9.0
    assert found.mean == pytest.approx(np.mean([0.01, 0.011] * 50 + [9.0]))
    assert found.p50 == 0.011
    assert found.mad == pytest.approx(0.001)


def test_neighbours_that_are_alike_are_seen() -> None:
    """Independent times have no correlation, a slow wave has nearly one."""
    generator = np.random.default_rng(0)
    noise = generator.normal(1.0, 0.1, 2000)
    wave = 1.0 + 0.1 * np.sin(np.arange(2000) / 50)

    assert abs(statistics_of(noise.tolist()).autocorrelation or 1) < 0.1
    assert (statistics_of(wave.tolist()).autocorrelation or 0) > 0.99
    assert np.corrcoef(noise[1:], noise[:-1])[0, 1] == pytest.approx(
        statistics_of(noise.tolist()).autocorrelation, abs=0.01
    )
    assert statistics_of([1.0] * 100).autocorrelation is None


def test_a_drift_is_told_as_a_share() -> None:
    """From the first third to the last; of a handful of times there is none."""
    assert statistics_of([1.0] * 30 + [1.05] * 30 + [1.1] * 30).drift == pytest.approx(0.1)
    assert statistics_of([1.0] * 10 + [2.0] * 10).drift is None


def test_a_run_that_goes_over_is_no_minute_of_its_own() -> None:
    """A timing of three minutes ends a little after them, here with a run of 2 s."""
    minutes = by_minute([0.5] * 358 + [2.0])

    assert [len(minute) for minute in minutes] == [120, 120, 119]
    assert minutes[-1][-1] == 2.0
    assert len(by_minute([1.0] * 150)) == 3  # half a minute is enough


@given(st.lists(st.floats(0.001, 200), max_size=60))
def test_minutes_hold_all_times_in_order(samples: list[float]) -> None:
    """None is lost or empty, and a new one begins when the minute is full."""
    minutes = by_minute(samples)

    assert [time_s for minute in minutes for time_s in minute] == samples
    assert all(minutes)
    if sum(samples) <= 60 and samples:
        assert len(minutes) == 1
