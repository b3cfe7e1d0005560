"""What is said of measured times: only what there are samples for, and nothing clipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime_bench.errors import EdgeError

# A percentile above the median rests on the samples beyond it.
LEAST_BEYOND = 10
# Below it neither a correlation of neighbours nor a drift says anything.
LEAST_IN_ORDER = 30
MINUTE_S = 60.0

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """Figures of one series of times, in seconds where not said otherwise.

    Attributes:
        p50: What half of the inferences stay under: the latency that all comparisons use.
        p90: What nine tenths stay under; None below 100 samples.
        p95: The same of 95 in a hundred; None below 200.
        p99: The same of 99 in a hundred; None below 1,000.
        max: The slowest one.
        mean: Their mean.
        mad: Median of the distances from the median.
        autocorrelation: Of neighbours in time, from -1 to 1: how little each sample adds. None
            below 30 samples, or where all are the same.
        drift: By what share the last third is slower than the first; None below 30 samples.
    """

    p50: float
    p90: float | None
    p95: float | None
    p99: float | None
    max: float
    mean: float
    mad: float
    autocorrelation: float | None
    drift: float | None


def statistics_of(samples: Sequence[float]) -> Statistics:
    """Return the figures of times in the order in which they were taken.

    Raises:
        EdgeError: If there are no samples.
    """
    median = percentile(samples, 50)
    assert median is not None
    times = np.asarray(samples, dtype=float)
    return Statistics(
        p50=median,
        p90=percentile(samples, 90),
        p95=percentile(samples, 95),
        p99=percentile(samples, 99),
        max=float(times.max()),
        mean=float(times.mean()),
        mad=float(np.median(np.abs(times - median))),
        autocorrelation=_autocorrelation(times),
        drift=_drift(times),
    )


def percentile(samples: Sequence[float], q: float) -> float | None:
    """Return the q-th percentile (0 to 100) by linear interpolation between neighbours.

    None for one above the median that fewer than ten samples lie beyond.

    Raises:
        EdgeError: If there are no samples.
    """
    if not samples:
        raise EdgeError("no samples to take a percentile of; time at least one run")
    if q > 50 and round(len(samples) * (100 - q) / 100, 6) < LEAST_BEYOND:
        return None
    ordered = sorted(samples)
    position = (len(ordered) - 1) * q / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def by_minute(samples: Sequence[float]) -> list[list[float]]:
    """Return times in seconds by the minute of timing in which each ended; none is empty.

    What is left at the end belongs to the minute before, unless it is half a minute: a timing
    of whole minutes ends with a run that goes over, and one run tells nothing.
    """
    minutes: list[list[float]] = []
    total_s = 0.0
    for time_s in samples:
        total_s += time_s
        if not minutes or total_s > MINUTE_S * len(minutes):
            minutes.append([])
        minutes[-1].append(time_s)
    if len(minutes) > 1 and sum(minutes[-1]) < MINUTE_S / 2:
        left = minutes.pop()
        minutes[-1] += left
    return minutes


def _autocorrelation(times_s: Times) -> float | None:
    if len(times_s) < LEAST_IN_ORDER:
        return None
    distances = times_s - times_s.mean()
    spread = float(distances @ distances)
    return float(distances[1:] @ distances[:-1]) / spread if spread > 0 else None


def _drift(times_s: Times) -> float | None:
    if len(times_s) < LEAST_IN_ORDER:
        return None
    third = len(times_s) // 3
    first_s = float(np.median(times_s[:third]))
    return float(np.median(times_s[-third:])) / first_s - 1 if first_s > 0 else None
