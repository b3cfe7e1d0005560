"""Timing: how often, for how long, and what is said of the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.errors import EdgeError
from runtime_bench.timing.latency import (
    LatencySamples,
    measure_latency,
    percentile,
    percentiles,
)


@pytest.fixture
def half_second_clock() -> Callable[[], float]:
    """A clock on which every interval takes half a second."""
    ticks: Iterator[int] = iter(range(1_000_000))
    return lambda: next(ticks) * 0.5


def test_runs_until_both_minimums_are_met(half_second_clock: Callable[[], float]) -> None:
    """The time minimum adds runs beyond the count minimum."""
    samples = measure_latency(
        lambda: None, warmup_runs=1, min_runs=3, min_time_s=2.0, clock=half_second_clock
    )

    assert samples == LatencySamples((0.5,), (0.5, 0.5, 0.5, 0.5))


def test_the_count_minimum_holds_alone(half_second_clock: Callable[[], float]) -> None:
    """With no time to fill, exactly the least number of runs is made."""
    calls = []
    samples = measure_latency(
        lambda: calls.append(1),
        warmup_runs=2,
        min_runs=3,
        min_time_s=0,
        clock=half_second_clock,
    )

    assert len(samples.timed_s) == 3
    assert len(calls) == 5


def test_one_run_is_no_spread() -> None:
    """A minimum of one run is refused before anything runs."""
    with pytest.raises(EdgeError, match="min_runs is 1; a spread needs at least 2 runs"):
        measure_latency(pytest.fail, warmup_runs=1, min_runs=1, min_time_s=0)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=50),
    st.floats(0, 98.9),
)
def test_percentiles_are_those_of_numpy(samples: list[float], q: float) -> None:
    """Interpolation between neighbours is numpy's default."""
    assert percentile(samples, q) == pytest.approx(np.percentile(samples, q), rel=1e-9)


@pytest.mark.parametrize(("count", "expected"), [(999, None), (1000, 989.01)])
def test_p99_needs_a_thousand_samples(count: int, expected: float | None) -> None:
    """Below 1,000 samples there is no 99th percentile, and none is made up."""
    assert percentiles(range(count)).p99 == pytest.approx(expected)


def test_a_percentile_of_nothing_is_an_error() -> None:
    """No samples, no percentile."""
    with pytest.raises(EdgeError, match="no samples"):
        percentile([], 50)
