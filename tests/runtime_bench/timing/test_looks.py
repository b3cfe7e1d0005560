"""Looking several times: what is settled when, and that the error rate is kept."""

from __future__ import annotations

import numpy as np
import pytest

from runtime_bench.timing import looks
from runtime_bench.timing.looks import (
    LOOKS,
    Standing,
    look_in_turn,
    look_times,
    standings_of,
)
from tests.runtime_bench.timing.test_compare import FakeTime, drifting_pair


@pytest.mark.parametrize(
    ("interval", "now", "at_last"),
    [
        ((0.98, 1.02), "same", "same"),
        ((1.01, 1.02), "same", "same"),  # certainly slower, and by less than counts
        ((1.04, 1.20), "slower", "slower"),
        ((0.80, 0.96), "faster", "faster"),
        ((1.01, 1.05), None, "slower"),
        ((0.96, 0.99), None, "faster"),
        ((0.96, 1.01), None, "undecided"),
        ((0.90, 1.10), None, "undecided"),
    ],
)
def test_verdicts(interval: tuple[float, float], now: str | None, at_last: str) -> None:
    """While rounds may follow, only what no longer can change is said."""
    standing = Standing(1.0, interval)

    assert standing.verdict(0.03) == now
    assert standing.last_verdict(0.03) == at_last


def test_it_ends_with_the_first_look_that_settles_all() -> None:
    """Three arms without noise: the first look has twenty rounds, and suffices."""
    fake = FakeTime()
    arms = [fake.arm(str(takes), takes) for takes in (2.0, 1.0, 3.0)]

    found = look_in_turn(
        arms, standings_of, lambda found: True, max_time_s=64 * 30.0, clock=fake.clock
    )

    assert [one.ratio for one in found.found] == [0.5, 1.5]
    assert (found.looks, len(found.times_s[0])) == (1, 20)


def test_what_is_never_settled_ends_at_the_limit() -> None:
    """Each look is at twice the time of the one before; progress is told after each round.

    What a person waits counts: an arm that takes a second runs once untimed as well, so a round
    of two takes four.
    """
    fake = FakeTime()
    told: list[float] = []

    found = look_in_turn(
        [fake.arm("a", 1.0), fake.arm("b", 1.0)],
        standings_of,
        lambda found: False,
        max_time_s=640.0,
        clock=fake.clock,
        on_round=told.append,
    )

    assert look_times(640.0) == (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
    assert found.looks == 4  # before 80 s there are fewer than twenty rounds
    assert told[-1] == 640.0
    assert len(told) == len(found.times_s[0]) == 160


def test_slow_models_get_ten_rounds() -> None:
    """However slow they are, something is known of how times spread."""
    fake = FakeTime()

    found = look_in_turn(
        [fake.arm("a", 60.0), fake.arm("b", 60.0)],
        standings_of,
        lambda found: False,
        max_time_s=10.0,
        clock=fake.clock,
    )

    assert (found.looks, len(found.times_s[0])) == (1, 10)


def test_looking_often_keeps_the_error_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 comparisons of equals a tenth at most ever seem to differ; unadjusted, more."""
    monkeypatch.setattr(looks, "RESAMPLES", 1000)
    generator = np.random.default_rng(11)
    wrong = {LOOKS: 0, 1: 0}
    for _ in range(100):
        slower, other = drifting_pair(generator, 640)
        times_s = (slower / 1.25, other)
        for share in wrong:
            seen = [
                standings_of([arm[:rounds] for arm in times_s], looks=share)[0].interval
                for rounds in (20, 40, 80, 160, 320, 640)
            ]
            wrong[share] += any(not low <= 1 <= high for low, high in seen)

    assert wrong[LOOKS] <= 10
    assert wrong[1] >= 15
