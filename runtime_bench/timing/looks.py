"""Compare models until it is decided, with a few looks on the way.

Whoever looks again and again, and stops at the first look that pleases, is wrong more often
than each look says. So the looks are few and fixed beforehand, and each is as strict as it
takes for all together to keep the error rate (Bonferroni: the rates of the looks add up).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from runtime_bench.timing.compare import Turns, paired_ratio
from runtime_bench.timing.latency import Clock

Verdict = Literal["faster", "slower", "same", "undecided"]
Times = tuple[tuple[float, ...], ...]
Found = TypeVar("Found")

CONFIDENCE = 0.95
# The last look is at the time limit, each other one at half the time of the next.
LOOKS = 7
# So that a tail of a 140th of a twentieth still rests on more than one draw.
RESAMPLES = 4000
# With fewer rounds the ends of an interval are one disturbed run.
LEAST_ROUNDS = 20
# However slow the models are.
LEAST_ROUNDS_AT_LIMIT = 10


@dataclass(frozen=True)
class Standing:
    """How a model stands to the first one.

    Attributes:
        ratio: Its latency over that of the first one, the median over the rounds.
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
class Looked(Generic[Found]):
    """What looks at models in turn led to.

    Attributes:
        times_s: For each model its times in seconds, one per round.
        found: What the last look found.
        looks: How many there were.
    """

    times_s: Times
    found: Found
    looks: int


def look_in_turn(
    arms: Sequence[Callable[[], object]],
    judge: Callable[[Times], Found],
    settled: Callable[[Found], bool],
    *,
    max_time_s: float,
    seed: int = 0,
    clock: Clock = time.perf_counter,
    on_round: Callable[[float], object] = lambda done_s: None,
) -> Looked[Found]:
    """Time models in turn until what a look finds is settled, or the time is up.

    Args:
        arms: Inferences on inputs that are already in memory.
        judge: Of the times so far, one tuple per arm; its intervals are to hold for all looks
            together, as `confidence_for` has them.
        settled: Whether that suffices.
        max_time_s: No round begins after this many seconds, over all arms and with their
            untimed runs, but for a least number of rounds.
        seed: Of the orders.
        clock: A monotonic clock in seconds; tests pass a fake one.
        on_round: Called with the seconds so far after each round, for progress.
    """
    turns = Turns(arms, seed=seed, clock=clock)
    looks = 0
    for at_s in look_times(max_time_s):
        while turns.spent_s < at_s or turns.rounds < LEAST_ROUNDS_AT_LIMIT:
            turns.take()
            on_round(turns.spent_s)
        if turns.rounds < LEAST_ROUNDS and at_s < max_time_s:
            continue
        looks += 1
        found = judge(turns.times_s)
        if settled(found):
            break
    return Looked(turns.times_s, found, looks)


def look_times(max_time_s: float) -> tuple[float, ...]:
    """Return after how many seconds to look; the last time is the limit."""
    return tuple(max_time_s / 2**halvings for halvings in range(LOOKS - 1, -1, -1))


def confidence_for(intervals: int, *, looks: int = LOOKS) -> float:
    """Return the confidence of one interval, of so many at each of `looks` looks."""
    return 1 - (1 - CONFIDENCE) / (looks * intervals)


def standings_of(
    times_s: Sequence[Sequence[float]], *, seed: int = 0, looks: int = LOOKS
) -> tuple[Standing, ...]:
    """Return how each model but the first one stands, at one of `looks` looks."""
    first_s, *others_s = times_s
    confidence = confidence_for(len(others_s), looks=looks)
    return tuple(
        Standing(
            *paired_ratio(
                other_s, first_s, seed=seed, resamples=RESAMPLES, confidence=confidence
            )
        )
        for other_s in others_s
    )
