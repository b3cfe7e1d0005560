"""Time a model, one inference at a time.

Times are seconds, as floats, in all of the code; only a report turns them into ms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from runtime_bench.errors import EdgeError
from runtime_bench.timing.statistics import Statistics, statistics_of

Clock = Callable[[], float]

# A model is warm once two such stretches in a row take the same, but for this share.
STRETCH = 5
SAME = 0.02
MOST_WARMUP_S = 10.0


@dataclass(frozen=True)
class LatencySamples:
    """Every measured time in the order of measuring; the warm-up is kept but does not count."""

    warmup_s: tuple[float, ...]
    timed_s: tuple[float, ...]

    @property
    def statistics(self) -> Statistics:
        """The figures of the times that count."""
        return statistics_of(self.timed_s)

    @property
    def is_warm(self) -> bool:
        """Whether the last runs of the warm-up took the same as those before them."""
        return is_stable(self.warmup_s)


def measure_latency(
    infer: Callable[[], object],
    *,
    warmup_runs: int,
    min_runs: int,
    min_time_s: float,
    most_warmup_s: float = 0.0,
    before: Callable[[], object] = lambda: None,
    between: Callable[[float], object] = lambda total_s: None,
    clock: Clock = time.perf_counter,
) -> LatencySamples:
    """Call `infer` until it is warm, then until both minimums are met, and time each call.

    Args:
        infer: One complete inference on an input that is already in memory.
        warmup_runs: The least number of calls made first; their times are kept but do not
            count.
        min_runs: The least number of timed calls.
        min_time_s: The least sum of timed seconds.
        most_warmup_s: For as long the warm-up goes on until times are stable.
        before: Called once it is warm, before the first timed call.
        between: Called after each timed call, outside its time, with the sum so far.
        clock: A monotonic clock in seconds; tests pass a fake one.

    Raises:
        EdgeError: If `min_runs` is below 2, since a spread needs two values.
    """
    if min_runs < 2:
        raise EdgeError(f"min_runs is {min_runs}; a spread needs at least 2 runs")

    warmup_s = [time_once(infer, clock) for _ in range(warmup_runs)]
    while sum(warmup_s) < most_warmup_s and not is_stable(warmup_s):
        warmup_s.append(time_once(infer, clock))
    before()
    timed_s: list[float] = []
    total_s = 0.0
    while len(timed_s) < min_runs or total_s < min_time_s:
        timed_s.append(time_once(infer, clock))
        total_s += timed_s[-1]
        between(total_s)
    return LatencySamples(tuple(warmup_s), tuple(timed_s))


def is_stable(times_s: Sequence[float]) -> bool:
    """Whether the last stretch of times is within 2 % of the one before it."""
    if len(times_s) < 2 * STRETCH:
        return False
    before_s = median(times_s[-2 * STRETCH : -STRETCH])
    return abs(median(times_s[-STRETCH:]) - before_s) <= SAME * before_s


def time_once(infer: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Return the seconds that one call takes."""
    start_s = clock()
    infer()
    return clock() - start_s
