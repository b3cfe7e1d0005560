"""The plan that just delivers is found, and its slower neighbour, from a few timings."""

from __future__ import annotations

import numpy as np
import pytest

from runtime_bench.errors import EdgeError
from xprune.pruning.plan import Choice, PrunePlan, Request
from xprune.stages.frontier import MOST_TIMED, NEAR, OVERSHOOT, Found, find_neighbours

BASE_S = 0.02
ASKED = Request(speedup=1.25)


def a_plan(promised_s: float) -> PrunePlan:
    """A plan of one layer that promises so many seconds."""
    choice = Choice("l", "Conv", "linear", 1.0, promised_s, promised_s / BASE_S, "made up")
    return PrunePlan("fisher", ASKED, (choice,))


class World:
    """Plans at certain promises; each really saves a little more or less than it promises."""

    def __init__(self, promises: np.ndarray, factors: np.ndarray, free_s: float = 0.0) -> None:
        self.promises, self.factors, self.free_s = np.sort(promises), factors, free_s
        self.timed: list[float] = []

    def propose(self, wanted_s: float) -> PrunePlan:
        reached = self.promises[self.promises >= wanted_s]
        if not len(reached):
            raise EdgeError("not reachable")
        return a_plan(float(reached[0]))

    def saved_s(self, promised_s: float) -> float:
        index = int(np.flatnonzero(self.promises == promised_s)[0])
        return self.free_s + promised_s * float(self.factors[index])

    def saving(self, made: PrunePlan) -> float:
        self.timed.append(made.promised_s)
        return self.saved_s(made.promised_s)

    def find(self, goal_s: float) -> Found:
        return find_neighbours(
            self.propose, self.saving, goal_s=goal_s, free_s=self.free_s, base_s=BASE_S
        )


def a_world(seed: int, *, bias: float, noise: float, count: int, free_s: float = 0.0) -> World:
    """Promises up to 15 ms, delivered with a bias and a noise of their own."""
    generator = np.random.default_rng(seed)
    promises = generator.uniform(1e-4, 0.015, count)
    return World(promises, bias * generator.uniform(1 - noise, 1 + noise, count), free_s)


@pytest.mark.parametrize("bias", [0.7, 0.9, 1.0, 1.3])
@pytest.mark.parametrize("seed", range(10))
def test_among_many_plans_one_just_delivers(seed: int, bias: float):
    """It saves what was asked, and little more unless there is no plan to do so."""
    world = a_world(seed, bias=bias, noise=0.02, count=400)

    found = world.find(0.004)

    assert found.best is not None
    saved_s = world.saved_s(found.best.promised_s)
    assert saved_s >= 0.004
    close = BASE_S / (BASE_S - saved_s) <= BASE_S / (BASE_S - 0.004) * (1 + OVERSHOOT)
    below = world.promises[world.promises < found.best.promised_s].max()
    assert close or below - (found.slower.promised_s if found.slower else 0) <= NEAR * BASE_S
    assert len(world.timed) == found.timed <= MOST_TIMED
    assert len(set(world.timed)) == len(world.timed)


@pytest.mark.parametrize("seed", range(10))
def test_where_plans_are_few_the_slower_neighbour_is_known(seed: int):
    """Nothing lies between the plan that delivers and the one that misses."""
    world = a_world(seed, bias=0.9, noise=0.0, count=8)

    found = world.find(0.004)

    saved = np.array([world.saved_s(promised_s) for promised_s in world.promises])
    first = int(np.flatnonzero(saved >= 0.004)[0])
    assert found.best is not None
    assert found.best.promised_s == world.promises[first]
    close = BASE_S / (BASE_S - saved[first]) <= BASE_S / (BASE_S - 0.004) * (1 + OVERSHOOT)
    before = found.slower.promised_s if found.slower else 0.0
    assert close or before == ([0.0, *world.promises])[first]


def test_what_is_free_need_not_be_promised():
    """Half of what is asked comes without a plan, so one for the other half does."""
    world = a_world(3, bias=1.0, noise=0.0, count=400, free_s=0.002)

    found = world.find(0.004)

    assert found.best is not None
    assert 0.002 <= found.best.promised_s < 0.0025


def test_out_of_reach_is_said_at_once():
    """The first wish that no plan promises is the error of who proposes."""
    world = a_world(0, bias=1.0, noise=0.0, count=20)

    with pytest.raises(EdgeError, match="not reachable"):
        world.find(0.018)


def test_plans_that_never_deliver_leave_no_best():
    """All that can be promised was timed; the fastest of them is the slower neighbour."""
    world = a_world(0, bias=0.5, noise=0.0, count=20)

    found = world.find(0.01)

    assert found.best is None
    assert found.slower is not None
    assert found.slower.promised_s > 0.9 * world.promises.max()
