"""Two models in turn: the order, the limits, and an interval that keeps its promise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from runtime_bench.errors import EdgeError
from runtime_bench.timing.compare import (
    compare_in_turn,
    draw_blocks,
    median_interval,
    paired_ratio,
    ratio_interval,
    time_in_turn,
)


class FakeTime:
    """A clock that moves only when an arm runs, by the seconds that this arm takes."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.order: list[str] = []

    def clock(self) -> float:
        """Return the seconds so far."""
        return self.now_s

    def arm(self, name: str, takes_s: float) -> Callable[[], None]:
        """Return an inference that takes `takes_s` seconds."""

        def run() -> None:
            self.order.append(name)
            self.now_s += takes_s

        return run


def compare(fake: FakeTime, *, min_rounds: int, min_time_s: float, max_time_s: float) -> int:
    """Compare arms of 2 s and 1 s; return how many rounds were made."""
    found = compare_in_turn(
        fake.arm("first", 2.0),
        fake.arm("second", 1.0),
        min_rounds=min_rounds,
        min_time_s=min_time_s,
        max_time_s=max_time_s,
        seed=3,
        warmup_runs=1,
        clock=fake.clock,
    )
    assert len(found.first_s) == len(found.second_s)
    assert found.ratio == 2.0
    assert found.interval == (2.0, 2.0)
    return len(found.first_s)


@pytest.mark.parametrize(
    ("min_rounds", "min_time_s", "max_time_s", "rounds"),
    [(5, 0, 100, 5), (2, 30, 100, 10), (50, 0, 9, 3), (50, 90, 1, 2)],
    ids=["count", "time", "limit", "limit, yet two rounds"],
)
def test_rounds_are_made_until_the_minimums_or_the_limit(
    min_rounds: int, min_time_s: float, max_time_s: float, rounds: int
) -> None:
    """Both minimums count, the limit ends it, and two rounds are always made."""
    fake = FakeTime()

    assert (
        compare(fake, min_rounds=min_rounds, min_time_s=min_time_s, max_time_s=max_time_s)
        == rounds
    )


def test_every_round_has_each_arm_once_in_changing_order() -> None:
    """Neither model always comes first, and the seed fixes the order."""
    orders = []
    for _ in range(2):
        fake = FakeTime()
        compare(fake, min_rounds=20, min_time_s=0, max_time_s=1e9)
        orders.append(fake.order[2:])  # after a warm-up run of each

    # Each is called twice in a row, the second time timed.
    rounds = [tuple(orders[0][at : at + 4]) for at in range(0, 80, 4)]
    first, second = ("first",) * 2, ("second",) * 2
    assert set(rounds) == {first + second, second + first}
    assert orders[0] == orders[1]


def test_any_number_of_arms_can_take_turns() -> None:
    """Each arm gets its own times back, in the order in which the arms were given."""
    fake = FakeTime()
    arms = [fake.arm(str(takes), takes) for takes in (3.0, 1.0, 2.0)]

    times = time_in_turn(
        arms, min_rounds=4, min_time_s=0, max_time_s=1e9, seed=0, clock=fake.clock
    )

    assert times == ((3.0,) * 4, (1.0,) * 4, (2.0,) * 4)


def test_what_another_model_left_behind_is_not_timed() -> None:
    """A run right after another model's pays for what that one put out of the caches."""
    fake = FakeTime()

    def arm(name: str, takes_s: float) -> Callable[[], None]:
        def run() -> None:
            cold = bool(fake.order) and fake.order[-1] != name
            fake.order.append(name)
            fake.now_s += takes_s + 3.0 * cold

        return run

    found = compare_in_turn(arm("first", 2.0), arm("second", 1.0), clock=fake.clock)

    assert (set(found.first_s), set(found.second_s)) == ({2.0}, {1.0})


def test_one_round_is_no_spread() -> None:
    """A minimum of one round is refused."""
    with pytest.raises(EdgeError, match="min_rounds is 1"):
        compare_in_turn(pytest.fail, pytest.fail, min_rounds=1)


def test_blocks_are_neighbours_on_a_circle() -> None:
    """Within a block the indices count up, and after the last comes the first."""
    rows = draw_blocks(25, 200, np.random.default_rng(0))

    blocks = rows.reshape(200, 5, 5)
    assert np.all(np.diff(blocks, axis=2) % 25 == 1)
    assert set(blocks[:, :, 0].ravel().tolist()) == set(range(25))


def test_rows_have_as_many_entries_as_rounds() -> None:
    """A last block that does not fit is cut."""
    assert draw_blocks(7, 3, np.random.default_rng(0)).shape == (3, 7)


def drifting_pair(generator: np.random.Generator, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return times of true ratio 1.25; a drift (AR(1), 0.6) is in both, spikes in each."""
    drift = np.zeros(rounds)
    for index in range(1, rounds):
        drift[index] = 0.6 * drift[index - 1] + generator.normal(0, 0.03)
    own = generator.normal(0, 0.03, size=(2, rounds))
    spikes = (generator.random((2, rounds)) < 0.03) * generator.exponential(0.5, (2, rounds))
    both = np.exp(drift + own + spikes)
    return 1.25 * both[0], both[1]


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """In 200 simulated comparisons with drift, the 95 % interval covers in 90 to 99.5 %."""
    generator = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        first, second = drifting_pair(generator, 150)
        low, high = ratio_interval(first, second, seed=seed, resamples=300)
        covered += low <= 1.25 <= high

    assert 180 <= covered <= 199


def test_the_paired_interval_covers_the_truth_too() -> None:
    """The same 200 comparisons, by the ratios of the rounds."""
    generator = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        first, second = drifting_pair(generator, 150)
        _, (low, high) = paired_ratio(first, second, seed=seed, resamples=300)
        covered += low <= 1.25 <= high

    assert 180 <= covered <= 199


def test_pairs_tell_more_where_a_machine_is_busy_now_and_then() -> None:
    """Both arms of a round are slowed down alike; their medians jump, their ratios do not."""
    generator = np.random.default_rng(3)
    busy = np.repeat(generator.random(40) < 0.5, 10)
    first, second = (
        (1 + 0.5 * busy) * np.exp(generator.normal(0, 0.02, 400)) for _ in range(2)
    )

    ratio, (low, high) = paired_ratio(first, second)
    by_medians = ratio_interval(first, second)

    assert low < 1 < high
    assert ratio == pytest.approx(1, abs=0.01)
    assert high - low < 0.5 * (by_medians[1] - by_medians[0])


@pytest.mark.parametrize(("count", "left_out"), [(5, 0), (10, 1), (20, 5), (100, 39)])
def test_order_statistics_bound_a_median(count: int, left_out: int) -> None:
    """As printed tables have it: of 100 samples the 40th and the 61st bound it with 95 %."""
    samples = list(np.random.default_rng(0).permutation(count).astype(float))

    low, high = median_interval(samples, resamples=50, confidence=0.95)

    assert low <= left_out
    assert high >= count - 1 - left_out


def test_the_interval_narrows_with_more_rounds() -> None:
    """Sixteen times the rounds give an interval of about a quarter of the width."""
    generator = np.random.default_rng(1)
    widths = []
    for rounds in (100, 1600):
        low, high = ratio_interval(*drifting_pair(generator, rounds), resamples=500)
        widths.append(high - low)

    assert widths[1] < 0.5 * widths[0]


def test_many_rounds_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on memory gives an interval that is just as good."""
    first, second = drifting_pair(np.random.default_rng(2), 60)
    at_once = ratio_interval(first, second)
    monkeypatch.setattr("runtime_bench.timing.compare.LARGEST_DRAW", 1000)

    assert ratio_interval(first, second) == pytest.approx(at_once, rel=0.01)
