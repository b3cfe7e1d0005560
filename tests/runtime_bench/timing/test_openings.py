"""Sessions that differ for as long as they are open: what several openings make of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runtime_bench.timing.openings import OPENINGS, Opener, Openings, compare_opened


class FakeDevice:
    """A clock that moves by what a session takes, which is another one at each opening."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.opened: list[str] = []

    def clock(self) -> float:
        """Return the seconds so far."""
        return self.now_s

    def opener(self, name: str, *takes_s: float) -> Opener:
        """Return what opens a model; its n-th session takes the n-th time, in a circle."""
        count = 0

        def open_one() -> Callable[[], None]:
            nonlocal count
            self.opened.append(name)
            takes = takes_s[count % len(takes_s)]
            count += 1

            def run() -> None:
                self.now_s += takes

            return run

        return open_one


def test_the_interval_covers_what_every_opening_saw() -> None:
    """The rounds of one opening all agree; the openings do not."""
    device = FakeDevice()
    both = Openings(
        (device.opener("a", 1.0), device.opener("b", 1.0, 1.1, 0.9, 1.0)), clock=device.clock
    )

    both.take(4, min_rounds=40, min_time_s=0.0, max_time_s=1e9)

    assert both.rounds == len(both.times_s(0)) == len(both.times_s(1)) == 40
    ratio, interval = both.ratio(1, 0)
    assert ratio == pytest.approx(1.0)
    assert interval == pytest.approx((0.9, 1.1))


def test_each_is_opened_once_an_opening_in_an_order_drawn_anew() -> None:
    """Nothing is opened before it is needed."""
    device = FakeDevice()
    names = ("a", "b", "c")
    some = Openings([device.opener(name, 1.0) for name in names], seed=1, clock=device.clock)
    assert device.opened == []

    some.take(12, min_rounds=24, min_time_s=0.0, max_time_s=1e9)

    orders = [tuple(device.opened[at : at + 3]) for at in range(0, 36, 3)]
    assert all(sorted(order) == list(names) for order in orders)
    assert len(set(orders)) > 1


@pytest.mark.parametrize(
    ("min_rounds", "min_time_s", "max_time_s", "rounds"),
    [(40, 0.0, 1e9, 40), (8, 120.0, 1e9, 40), (400, 0.0, 120.0, 40)],
    ids=["rounds", "time", "most time"],
)
def test_limits_are_of_all_openings_together(
    min_rounds: int, min_time_s: float, max_time_s: float, rounds: int
) -> None:
    """A round takes 3 s here."""
    device = FakeDevice()

    found = compare_opened(
        device.opener("a", 2.0),
        device.opener("b", 1.0),
        min_rounds=min_rounds,
        min_time_s=min_time_s,
        max_time_s=max_time_s,
        clock=device.clock,
    )

    assert len(found.first_s) == rounds
    assert (found.ratio, found.interval) == (2.0, (2.0, 2.0))
    assert len(device.opened) == 2 * OPENINGS


@pytest.mark.parametrize(
    ("narrow", "rounds"),
    [(None, 20), (0.5, 20), (0.01, 180)],
    ids=["not asked", "narrow at once", "to the last"],
)
def test_rounds_are_added_while_they_leave_too_much_open(
    narrow: float | None, rounds: int
) -> None:
    """A model that takes 1 s and 1.3 s in turn: 20 rounds, 40 and 120 more."""
    device = FakeDevice()
    count = 0

    def open_restless() -> Callable[[], None]:
        def run() -> None:
            nonlocal count
            count += 1
            # The untimed run before it comes first.
            device.now_s += 1.3 if count // 2 % 2 else 1.0

        return run

    found = compare_opened(
        device.opener("a", 1.0),
        open_restless,
        min_rounds=20,
        min_time_s=0.0,
        max_time_s=1e9,
        narrow=narrow,
        most_rounds=100,
        clock=device.clock,
    )

    assert len(found.first_s) == rounds


def test_a_slow_model_is_not_timed_until_it_has_all_rounds() -> None:
    """They are asked for three times, each of which ends at the most time."""
    device = FakeDevice()

    found = compare_opened(
        device.opener("a", 1.0),
        device.opener("b", 1.0, 2.0),
        min_rounds=100,
        min_time_s=0.0,
        max_time_s=16.0,
        narrow=0.01,
        most_rounds=900,
        clock=device.clock,
    )

    assert len(device.opened) == 3 * 2 * OPENINGS
    assert len(found.first_s) < 100
