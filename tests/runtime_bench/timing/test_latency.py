"""Timing: how often, for how long, and what is said of the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from runtime_bench.errors import EdgeError
from runtime_bench.timing.latency import LatencySamples, measure_latency


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


def test_a_model_is_warm_once_its_times_are_stable() -> None:
    """Slow first runs stay out of what counts; a fixed number of them would not."""
    lasting_s = [1.0] * 12 + [0.5] * 100
    now = [0.0]

    def infer() -> None:
        now[0] += lasting_s.pop(0)

    samples = measure_latency(
        infer,
        warmup_runs=7,
        min_runs=3,
        min_time_s=0,
        most_warmup_s=60.0,
        clock=lambda: now[0],
    )

    # Ten times of a second are stable too: only a change would show that more is to come.
    assert samples.warmup_s == (1.0,) * 10
    assert samples.is_warm


def test_what_never_settles_is_timed_in_the_end() -> None:
    """The warm-up has an end, and what it was is known."""
    now, calls = [0.0], [0]

    def infer() -> None:
        calls[0] += 1
        now[0] += 1.0 * 0.9 ** calls[0]

    samples = measure_latency(
        infer, warmup_runs=5, min_runs=2, min_time_s=0, most_warmup_s=5.0, clock=lambda: now[0]
    )

    assert 5.0 <= sum(samples.warmup_s) < 6.0
    assert not samples.is_warm


def test_others_are_called_around_the_timed_runs(
    half_second_clock: Callable[[], float],
) -> None:
    """Once before the first, and after each with the sum so far; their time does not count."""
    told: list[object] = []

    measure_latency(
        lambda: told.append("run"),
        warmup_runs=1,
        min_runs=2,
        min_time_s=0,
        before=lambda: told.append("before"),
        between=told.append,
        clock=half_second_clock,
    )

    assert told == ["run", "before", "run", 0.5, "run", 1.0]
