"""Time a model, one inference at a time.

Times are seconds, as floats, in all of the code; only a report turns them into ms.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime_bench.errors import EdgeError

Clock = Callable[[], float]

# A 99th percentile from fewer samples rests on fewer than ten of them.
LEAST_SAMPLES_FOR_P99 = 1000


@dataclass(frozen=True)
class LatencySamples:
    """Every measured time in the order of measuring; the warm-up is kept but does not count."""

    warmup_s: tuple[float, ...]
    timed_s: tuple[float, ...]

    @property
    def percentiles(self) -> Percentiles:
        """The percentiles of the times that count."""
        return percentiles(self.timed_s)


@dataclass(frozen=True)
class Percentiles:
    """What half, nine tenths, and 99 of a hundred inferences stay under, in seconds."""

    p50: float
    p90: float
    p99: float | None


def measure_latency(
    infer: Callable[[], object],
    *,
    warmup_runs: int,
    min_runs: int,
    min_time_s: float,
    clock: Clock = time.perf_counter,
) -> LatencySamples:
    """Call `infer` until both minimums are met, and time each call.

    Args:
        infer: One complete inference on an input that is already in memory.
        warmup_runs: Calls made first; their times are kept but do not count.
        min_runs: The least number of timed calls.
        min_time_s: The least sum of timed seconds.
        clock: A monotonic clock in seconds; tests pass a fake one.

    Raises:
        EdgeError: If `min_runs` is below 2, since a spread needs two values.
    """
    if min_runs < 2:
        raise EdgeError(f"min_runs is {min_runs}; a spread needs at least 2 runs")

    warmup_s = [time_once(infer, clock) for _ in range(warmup_runs)]
    timed_s: list[float] = []
    total_s = 0.0
    while len(timed_s) < min_runs or total_s < min_time_s:
        timed_s.append(time_once(infer, clock))
        total_s += timed_s[-1]
    return LatencySamples(tuple(warmup_s), tuple(timed_s))


def time_once(infer: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Return the seconds that one call takes."""
    start_s = clock()
    infer()
    return clock() - start_s


def percentile(samples: Sequence[float], q: float) -> float | None:
    """Return the q-th percentile (0 to 100) by linear interpolation between neighbours.

    None from the 99th on where there are fewer than 1,000 samples.

    Raises:
        EdgeError: If there are no samples.
    """
    if not samples:
        raise EdgeError("no samples to take a percentile of; time at least one run")
    if q >= 99 and len(samples) < LEAST_SAMPLES_FOR_P99:
        return None
    ordered = sorted(samples)
    position = (len(ordered) - 1) * q / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def percentiles(samples: Sequence[float]) -> Percentiles:
    """Return the percentiles that a result shows."""
    p50, p90 = percentile(samples, 50), percentile(samples, 90)
    assert p50 is not None
    assert p90 is not None
    return Percentiles(p50, p90, percentile(samples, 99))
