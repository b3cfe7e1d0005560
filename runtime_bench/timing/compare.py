"""Time two models in turn, in one run, and say how much faster the second one is.

Times drift: a processor warms up, another program wakes. So both models are timed in every
round, in random order, and the answer is a ratio with an interval that respects the drift.

A device runs one model again and again. In turn, each would find the processor's caches full of
the other's weights, which costs the faster one more; so before each timed run of a model there
is one that is not timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime_bench.errors import EdgeError
from runtime_bench.timing.latency import Clock, time_once

UNTIMED_RUNS = 1
RESAMPLES = 2000
CONFIDENCE = 0.95
# Resampled times held in memory at once; 8 bytes each.
LARGEST_DRAW = 2_000_000


@dataclass(frozen=True)
class Comparison:
    """Times of two models, measured in turn.

    Attributes:
        first_s: One time per round, in seconds.
        second_s: The same of the second model; entry i is of the same round.
        ratio: Median over the rounds of the first over the second: the second's speed-up.
        interval: The 95 % interval (low, high) of `ratio`.
    """

    first_s: tuple[float, ...]
    second_s: tuple[float, ...]
    ratio: float
    interval: tuple[float, float]


def compare_in_turn(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    min_rounds: int = 50,
    min_time_s: float = 2.0,
    max_time_s: float = 60.0,
    seed: int = 0,
    warmup_runs: int = 3,
    clock: Clock = time.perf_counter,
) -> Comparison:
    """Time two inferences in turn and compare them; see `time_in_turn`, `paired_ratio`."""
    first_s, second_s = time_in_turn(
        (first, second),
        min_rounds=min_rounds,
        min_time_s=min_time_s,
        max_time_s=max_time_s,
        seed=seed,
        warmup_runs=warmup_runs,
        clock=clock,
    )
    ratio, interval = paired_ratio(first_s, second_s, seed=seed)
    return Comparison(first_s, second_s, ratio, interval)


def time_in_turn(
    arms: Sequence[Callable[[], object]],
    *,
    min_rounds: int,
    min_time_s: float,
    max_time_s: float,
    seed: int,
    warmup_runs: int = 3,
    clock: Clock = time.perf_counter,
) -> tuple[tuple[float, ...], ...]:
    """Time every arm once in each round, in an order drawn anew for each round.

    Right before it is timed, an arm is called once untimed.

    Args:
        arms: Inferences on inputs that are already in memory.
        min_rounds: The least number of rounds.
        min_time_s: The least sum of timed seconds, over all arms.
        max_time_s: No round begins after this many timed seconds, even if a minimum is
            not met; two rounds are always made.
        seed: Of the orders.
        warmup_runs: Untimed calls of each arm before the first round.
        clock: A monotonic clock in seconds; tests pass a fake one.

    Returns:
        For each arm its times in seconds, one per round.

    Raises:
        EdgeError: If `min_rounds` is below 2, since a spread needs two values.
    """
    if min_rounds < 2:
        raise EdgeError(f"min_rounds is {min_rounds}; a spread needs at least 2 rounds")
    turns = Turns(arms, seed=seed, warmup_runs=warmup_runs, clock=clock)
    while turns.rounds < 2 or (
        turns.total_s < max_time_s and (turns.rounds < min_rounds or turns.total_s < min_time_s)
    ):
        turns.take()
    return turns.times_s


class Turns:
    """Arms that are timed once each in a round, in an order drawn anew for each round.

    Attributes:
        rounds: How many were made.
        total_s: The sum of timed seconds, over all arms.
        spent_s: The same with the untimed runs: what a person waits.
    """

    def __init__(
        self,
        arms: Sequence[Callable[[], object]],
        *,
        seed: int,
        warmup_runs: int = 3,
        clock: Clock = time.perf_counter,
    ) -> None:
        """Warm the arms up; see `time_in_turn`."""
        self.rounds, self.total_s, self.spent_s = 0, 0.0, 0.0
        self._arms, self._clock = arms, clock
        self._generator = np.random.default_rng(seed)
        self._samples_s: list[list[float]] = [[] for _ in arms]
        for arm in arms:
            for _ in range(warmup_runs):
                arm()

    def take(self) -> None:
        """Make one more round."""
        start_s = self._clock()
        for index in self._generator.permutation(len(self._arms)).tolist():
            for _ in range(UNTIMED_RUNS):
                self._arms[index]()
            self._samples_s[index].append(time_once(self._arms[index], self._clock))
            self.total_s += self._samples_s[index][-1]
        self.rounds += 1
        self.spent_s += self._clock() - start_s

    @property
    def times_s(self) -> tuple[tuple[float, ...], ...]:
        """For each arm its times in seconds, one per round."""
        return tuple(tuple(times_s) for times_s in self._samples_s)


def ratio_interval(
    first_s: Sequence[float],
    second_s: Sequence[float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[float, float]:
    """Return the interval of the ratio of medians, for samples taken in turn.

    A circular block bootstrap (Politis and Romano 1992): runs of about sqrt(n) rounds in a
    row are drawn with replacement, both models together, so that what neighbouring rounds
    share (drift, a busy machine) stays in every draw.

    Args:
        first_s: (n,) times of the first model in the order of rounds.
        second_s: (n,) times of the second in the same rounds.
        seed: Of the draws.
        resamples: How many draws.
        confidence: How often the interval is to hold the true ratio, in (0, 1).
    """
    first, second = np.asarray(first_s, dtype=float), np.asarray(second_s, dtype=float)
    rounds = len(first)
    assert rounds == len(second) >= 2, "samples in turn come in pairs"
    generator = np.random.default_rng(seed)
    ratios = [
        np.median(first[rows], axis=1) / np.median(second[rows], axis=1)
        for rows in _draws(rounds, resamples, generator)
    ]
    return ends_of(np.concatenate(ratios), confidence)


def paired_ratio(
    first_s: Sequence[float],
    second_s: Sequence[float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[float, tuple[float, float]]:
    """Return the median of the rounds' ratios, and its interval, for samples taken in turn.

    What slows a machine down for a while slows both models of a round down, so their ratio
    hardly moves where medians over all rounds jump between a quiet and a busy machine: with
    other processes on both cores, the interval of 400 rounds was a fifth as wide.

    Args:
        first_s: (n,) times of the first model in the order of rounds.
        second_s: (n,) times of the second in the same rounds.
        seed: Of the draws.
        resamples: How many draws.
        confidence: How often the interval is to hold the true ratio, in (0, 1).
    """
    ratios = (np.asarray(first_s, dtype=float) / np.asarray(second_s, dtype=float)).tolist()
    interval = median_interval(ratios, seed=seed, resamples=resamples, confidence=confidence)
    return float(np.median(ratios)), interval


def median_interval(
    samples: Sequence[float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[float, float]:
    """Return the interval of a median: of two, what covers both.

    Medians of samples drawn in blocks respect that neighbours are alike, but there are only
    about sqrt(n) blocks, too few for the far tails that looking several times asks for. Order
    statistics (Thompson 1936) are exact there, for samples that are independent. Below eight
    samples or so no interval is sure, and the least and the greatest are returned.

    Args:
        samples: In the order in which they were taken.
        seed: Of the draws.
        resamples: How many draws.
        confidence: How often the interval is to hold the true median, in (0, 1).
    """
    drawn = medians(samples, np.random.default_rng(seed), resamples=resamples)
    low, high = ends_of(drawn, confidence)
    ordered, left_out = sorted(samples), _left_out(len(samples), confidence)
    return min(low, ordered[left_out]), max(high, ordered[-1 - left_out])


def _left_out(count: int, confidence: float) -> int:
    """Return how many samples on either side the median is beyond, rarely enough.

    The number of samples below the median is binomial with a chance of a half.
    """
    below = np.arange(count)
    log_chances = np.concatenate([[0.0], np.cumsum(np.log((count - below) / (below + 1)))])
    at_most = np.cumsum(np.exp(log_chances - count * math.log(2)))
    return max(0, int((at_most <= (1 - confidence) / 2).sum()) - 1)


def medians(
    samples: Sequence[float],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> npt.NDArray[np.float64]:
    """Return (resamples,) medians of samples drawn in blocks, as for `ratio_interval`."""
    values = np.asarray(samples, dtype=float)
    draws = _draws(len(values), resamples, generator)
    return np.concatenate([np.median(values[rows], axis=1) for rows in draws])


def _draws(
    rounds: int, resamples: int, generator: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of `draw_blocks`, as many at once as memory allows."""
    at_once = max(1, LARGEST_DRAW // rounds)
    for done in range(0, resamples, at_once):
        yield draw_blocks(rounds, min(at_once, resamples - done), generator)


def ends_of(values: npt.NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return between which values that share of them lies, as much left out on either side."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def draw_blocks(
    rounds: int, draws: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return (draws, rounds) indices in blocks; a block that reaches the end goes on at 0."""
    length = max(1, round(math.sqrt(rounds)))
    starts = generator.integers(0, rounds, size=(draws, math.ceil(rounds / length), 1))
    blocks = (starts + np.arange(length)) % rounds
    return blocks.reshape(draws, -1)[:, :rounds]
