"""Compare models until it is decided, with a few looks on the way.

Whoever looks again and again, and stops at the first look that pleases, is wrong more often
than each look says. So the looks are few and fixed beforehand, and each is as strict as it
takes for all together to keep the error rate (Bonferroni: the rates of the looks add up).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from runtime_bench.compare import Turns, ratio_interval
from runtime_bench.latency import Clock

Verdict = Literal["faster", "slower", "same", "undecided"]

CONFIDENCE = 0.95
# The last look is at the time limit, each other one at half the time of the next.
LOOKS = 7
# So that a tail of a 140th of a twentieth still rests on more than one draw.
RESAMPLES = 4000
# With fewer rounds the ends of an interval are one disturbed run.
LEAST_ROUNDS = 20
# However slow the models are.
LEAST_ROUNDS_AT_LIMIT = 5


@dataclass(frozen=True)
class Standing:
    """How a model stands to the first one.

    Attributes:
        ratio: Its median latency over that of the first one.
        interval: The interval (low, high) of `ratio`; those of all looks and models hold
            together in 95 % of comparisons.
    """

    ratio: float
    interval: tuple[float, float]

    def verdict(self, within: float) -> Verdict | None:
        """Return what is settled; None if more rounds may tell.

        Args:
            within: What counts as the same, as a share: 0.03 for 3 %.
        """
        low, high = self.interval
        if 1 - within <= low and high <= 1 + within:
            return "same"
        if low > 1 + within:
            return "slower"
        return "faster" if high < 1 - within else None

    def last_verdict(self, within: float) -> Verdict:
        """Return the same where no rounds follow: a difference of any size counts."""
        low, high = self.interval
        if low > 1 or high < 1:
            return self.verdict(within) or ("slower" if low > 1 else "faster")
        return self.verdict(within) or "undecided"


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        times_s: For each model its times in seconds, one per round.
        standings: Of each model but the first one, in order.
        looks: How many there were.
    """

    times_s: tuple[tuple[float, ...], ...]
    standings: tuple[Standing, ...]
    looks: int


def compare_with_looks(
    arms: Sequence[Callable[[], object]],
    settled: Callable[[Standing], bool],
    *,
    max_time_s: float,
    seed: int = 0,
    clock: Clock = time.perf_counter,
    on_round: Callable[[float], object] = lambda done_s: None,
) -> Compared:
    """Time models in turn until every one but the first is settled, or the time is up.

    Args:
        arms: Inferences on inputs that are already in memory; the first one is what the
            others are compared with.
        settled: Of a standing, whether it is.
        max_time_s: No round begins after this many timed seconds, over all arms, but for a
            least number of rounds.
        seed: Of the orders, and of the intervals.
        clock: A monotonic clock in seconds; tests pass a fake one.
        on_round: Called with the timed seconds after each round, for progress.
    """
    turns = Turns(arms, seed=seed, clock=clock)
    looks = 0
    for at_s in look_times(max_time_s):
        while turns.total_s < at_s or turns.rounds < LEAST_ROUNDS_AT_LIMIT:
            turns.take()
            on_round(turns.total_s)
        if turns.rounds < LEAST_ROUNDS and at_s < max_time_s:
            continue
        looks += 1
        standings = standings_of(turns.times_s, seed=seed)
        if all(settled(standing) for standing in standings):
            break
    return Compared(turns.times_s, standings, looks)


def look_times(max_time_s: float) -> tuple[float, ...]:
    """Return after how many timed seconds to look; the last time is the limit."""
    return tuple(max_time_s / 2**halvings for halvings in range(LOOKS - 1, -1, -1))


def standings_of(
    times_s: Sequence[Sequence[float]], *, seed: int = 0, looks: int = LOOKS
) -> tuple[Standing, ...]:
    """Return how each model but the first one stands, at one of `looks` looks."""
    first_s, *others_s = times_s
    confidence = 1 - (1 - CONFIDENCE) / (looks * len(others_s))
    return tuple(
        Standing(
            ratio=float(np.median(other_s) / np.median(first_s)),
            interval=ratio_interval(
                other_s, first_s, seed=seed, resamples=RESAMPLES, confidence=confidence
            ),
        )
        for other_s in others_s
    )
