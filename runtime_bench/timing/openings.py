"""Time models in turn, and open each of them several times.

Where a session lies in memory moves a model of a millisecond by some percent for as long as it
is open: two sessions of one file differ, in every round alike. So all are opened anew, in
another order, and the rounds of all openings count together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from runtime_bench.timing.compare import Comparison, paired_ratio, time_in_turn
from runtime_bench.timing.latency import Clock

OPENINGS = 4

# Opens a model and returns a call that runs it.
Opener = Callable[[], Callable[[], object]]


class Openings:
    """Models that are opened, timed in turn and closed, as often as one likes.

    Attributes:
        rounds: How often each was timed, over all openings.
    """

    def __init__(
        self, openers: Sequence[Opener], *, seed: int = 0, clock: Clock = time.perf_counter
    ) -> None:
        """Open nothing yet.

        Args:
            openers: One for each model.
            seed: Of the orders in which they are opened and timed.
            clock: A monotonic clock in seconds.
        """
        self.rounds = 0
        self._openers, self._seed, self._clock = openers, seed, clock
        self._parts: list[tuple[tuple[float, ...], ...]] = []

    def take(
        self, openings: int = OPENINGS, *, min_rounds: int, min_time_s: float, max_time_s: float
    ) -> None:
        """Open all some more times and time them; see `time_in_turn`.

        Args:
            openings: How often they are opened.
            min_rounds: The least number of rounds, over these openings.
            min_time_s: The least sum of timed seconds, over these openings and all models.
            max_time_s: The same sum at most.
        """
        for _ in range(openings):
            opening = len(self._parts)
            part = time_in_turn(
                self._opened(opening),
                min_rounds=max(2, -(-min_rounds // openings)),
                min_time_s=min_time_s / openings,
                max_time_s=max_time_s / openings,
                seed=self._seed + opening,
                clock=self._clock,
            )
            self._parts.append(part)
            self.rounds += len(part[0])

    def times_s(self, model: int) -> tuple[float, ...]:
        """Return a model's times in seconds, one per round."""
        return tuple(time_s for part in self._parts for time_s in part[model])

    def ratio(self, top: int, bottom: int) -> tuple[float, tuple[float, float]]:
        """Return the median of the rounds' ratios, top over bottom, and its 95 % interval.

        The interval covers the median of every opening: what differs from one to the next is
        in no interval of all rounds.
        """
        ratio, (low, high) = self.steady_ratio(top, bottom)
        medians = [float(np.median(np.divide(part[top], part[bottom]))) for part in self._parts]
        return ratio, (min(low, *medians), max(high, *medians))

    def steady_ratio(self, top: int, bottom: int) -> tuple[float, tuple[float, float]]:
        """Return the same with what the rounds alone leave open, which more of them narrow."""
        return paired_ratio(self.times_s(top), self.times_s(bottom))

    def _opened(self, opening: int) -> list[Callable[[], object]]:
        """Open all, the order drawn, and return their calls in the order given."""
        order = np.random.default_rng((self._seed, opening)).permutation(len(self._openers))
        calls = {at: self._openers[at]() for at in order.tolist()}
        return [calls[at] for at in range(len(self._openers))]


def compare_opened(
    first: Opener,
    second: Opener,
    *,
    min_rounds: int,
    min_time_s: float,
    max_time_s: float,
    narrow: float | None = None,
    most_rounds: int = 0,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> Comparison:
    """Compare two models over several openings.

    Args:
        first: Opens one.
        second: Opens the other.
        min_rounds: The least number of rounds.
        min_time_s: The least sum of timed seconds, over both.
        max_time_s: The same sum at most, before more rounds are asked for.
        narrow: Rounds are added, twice as many as were asked for, while what they leave open of
            the ratio is wider than this share of it; None adds none.
        most_rounds: None are added once so many were asked for.
        seed: Of the orders.
        clock: A monotonic clock in seconds.
    """
    both = Openings((first, second), seed=seed, clock=clock)
    wanted, asked_for = min_rounds, 0
    while True:
        both.take(min_rounds=wanted, min_time_s=min_time_s, max_time_s=max_time_s)
        # Not how many were made: of a slow model the most time ends them early, each time.
        asked_for += wanted
        ratio, (low, high) = both.steady_ratio(0, 1)
        if narrow is None or high - low <= narrow * ratio or asked_for >= most_rounds:
            ratio, interval = both.ratio(0, 1)
            return Comparison(both.times_s(0), both.times_s(1), ratio, interval)
        wanted = 2 * asked_for
