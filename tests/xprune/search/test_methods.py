"""Each search finds the best plan of a small problem, keeps to its seconds, and can go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.reference.brute_force_plan import possible
from tests.reference.toy_plans import ToyFitness, best_fitness, toy_problem
from xprune.config import SEARCHES
from xprune.pruning.knapsack import Option
from xprune.search.evaluations import Evaluations, Journal
from xprune.search.methods import METHODS, Found, search
from xprune.search.problem import Problem, key_of, saved_s

every_method = pytest.mark.parametrize("method", METHODS)


def look(
    problem: Problem, fitness: ToyFitness, method: str, *, limit_s: float, journal=None
) -> Found:
    """Search with a fake clock that the fitness moves."""
    evaluations = Evaluations(fitness, clock=fitness.clock, journal=journal)
    found = search(problem, method, evaluations, limit_s=limit_s)
    assert found is not None
    return found


def test_the_options_name_all_methods():
    """The list that is light to import, and the functions."""
    assert ("none", *METHODS) == SEARCHES


@every_method
def test_finds_the_best_plan_of_small_problems(method: str):
    """As trying all of them: in most of twenty, on the mean within 5 %."""
    excess, seeds, exact = [], [], 0
    for seed in range(20):
        problem, fitness = toy_problem(seed)
        found = look(problem, fitness, method, limit_s=80)
        best = best_fitness(problem, fitness.value)
        exact += found.best.fitness == pytest.approx(best)
        excess.append(found.best.fitness / best - 1)
        seeds.append(found.first.fitness / best - 1)

    assert exact >= 14
    assert sum(excess) / 20 <= 0.05
    assert sum(excess) < 0.5 * sum(seeds)


@every_method
@pytest.mark.parametrize("limit_s", [0, 1, 7, 30])
def test_never_worse_than_the_plan_of_the_scores(method: str, limit_s: float):
    """Whatever time there is, also none at all; what is found saves enough, none nested."""
    for seed in range(4):
        problem, fitness = toy_problem(seed, layers=9)
        found = look(problem, fitness, method, limit_s=limit_s)

        assert key_of(found.first.plan) == key_of(problem.seeds[0])
        assert found.best.fitness <= found.first.fitness
        assert found.best.fitness == fitness.value(found.best.plan)
        for plan in fitness.calls:
            assert possible(problem.parents, plan)
        assert saved_s(found.best.plan) >= problem.wanted_s * (1 - 1e-6)


@every_method
@pytest.mark.parametrize("limit_s", [3.5, 20.0])
def test_keeps_to_its_seconds(method: str, limit_s: float):
    """No evaluation begins when the seconds are used up; one that has begun is finished."""
    problem, fitness = toy_problem(3, layers=12)

    found = look(problem, fitness, method, limit_s=limit_s)

    assert limit_s <= fitness.clock.now_s < limit_s + fitness.seconds
    assert found.seconds == fitness.clock.now_s
    assert found.evaluations == len(fitness.calls)


@every_method
def test_the_same_seed_finds_the_same(method: str):
    """Plan by plan."""
    calls = []
    for _ in range(2):
        problem, fitness = toy_problem(5, layers=10)
        look(problem, fitness, method, limit_s=25)
        calls.append([key_of(plan) for plan in fitness.calls])

    assert calls[0] == calls[1]


@every_method
@pytest.mark.parametrize("stopped_after", [1, 9, 17])
def test_what_was_stopped_goes_on_as_if_it_was_not(
    method: str, stopped_after: int, tmp_path: Path
):
    """The same plans in the same order, none tried twice, in the same seconds all together."""

    class Killed(BaseException):
        pass

    problem, whole = toy_problem(7, layers=10)
    expected = look(problem, whole, method, limit_s=25)
    path = tmp_path / "search.jsonl"

    _, first = toy_problem(7, layers=10)

    def until_killed(plan):
        if len(first.calls) == stopped_after:
            raise Killed
        return first(plan)

    with pytest.raises(Killed):
        search(
            problem,
            method,
            Evaluations(until_killed, clock=first.clock, journal=Journal(path, {"v": 1})),
            limit_s=25,
        )
    _, second = toy_problem(7, layers=10)
    found = look(problem, second, method, limit_s=25, journal=Journal(path, {"v": 1}))

    assert [key_of(plan) for plan in first.calls + second.calls] == [
        key_of(plan) for plan in whole.calls
    ]
    assert found == expected


@every_method
def test_more_seconds_go_on_from_what_is_known(method: str, tmp_path: Path):
    """The second search tries nothing again, and what it finds is no worse."""
    problem, first = toy_problem(11, layers=12)
    path = tmp_path / "search.jsonl"
    before = look(problem, first, method, limit_s=10, journal=Journal(path, {"v": 1}))

    _, second = toy_problem(11, layers=12)
    after = look(problem, second, method, limit_s=40, journal=Journal(path, {"v": 1}))

    tried = [key_of(plan) for plan in first.calls + second.calls]
    assert len(set(tried)) == len(tried)
    assert second.calls
    assert after.best.fitness <= before.best.fitness


@every_method
def test_ends_when_there_is_nothing_new(method: str):
    """Two plans in all: the time that is left is not waited for."""
    options = [Option("l0", "linear", 1.0, 1.0), Option("l1", "linear", 2.0, 1.0)]
    problem = Problem({"l0": None, "l1": None}, options, 1.0)
    fitness = ToyFitness({("l0", "linear"): 5.0, ("l1", "linear"): 2.0})

    found = look(problem, fitness, method, limit_s=1e6)

    assert key_of(found.best.plan) == (("l1", "linear"),)
    assert fitness.clock.now_s <= 4


@every_method
def test_plans_that_leave_nothing_lose(method: str):
    """A fitness that is no number is the worst there is, and breaks nothing."""
    problem, fitness = toy_problem(2)
    broken = problem.seeds[0][0]

    def sometimes_nan(plan):
        value = fitness(plan)
        return float("nan") if broken in plan else value

    found = search(problem, method, Evaluations(sometimes_nan, clock=fitness.clock), limit_s=40)

    assert found is not None
    assert found.first.fitness == float("inf")
    assert found.best.fitness < float("inf")


@every_method
def test_what_cannot_be_saved_is_none(method: str):
    """And nothing is tried."""
    problem = Problem({"l0": None}, [Option("l0", "linear", 1.0, 1.0)], 2.0)
    fitness = ToyFitness({})

    assert search(problem, method, Evaluations(fitness, clock=fitness.clock), limit_s=9) is None
    assert not fitness.calls


@every_method
def test_finals_decide_among_the_best(method: str):
    """Tried again more exactly, the winner of the finals is chosen, in the same seconds."""
    problem, exact = toy_problem(4, layers=10, pairs=8)
    _, rough = toy_problem(4, layers=10, pairs=0)
    rough.clock = exact.clock
    tries, finals = (Evaluations(fitness, clock=exact.clock) for fitness in (rough, exact))

    found = search(problem, method, tries, limit_s=40, finals=finals)

    assert found is not None
    assert found.first is not None
    assert found.best.fitness == min(map(exact.value, exact.calls))
    assert found.best.fitness <= found.first.fitness == exact.value(problem.seeds[0])
    assert 1 < len(exact.calls) <= 10
    assert {key_of(plan) for plan in exact.calls} <= {key_of(plan) for plan in rough.calls}
    assert exact.clock.now_s == found.seconds <= 42


@every_method
def test_without_time_what_is_known_has_to_do(method: str):
    """A smaller saving: nothing is tried; a larger one that no known plan reaches: its seed."""
    problem, fitness = toy_problem(6, layers=10)
    evaluations = Evaluations(fitness, clock=fitness.clock)
    search(problem, method, evaluations, limit_s=12)
    known = len(fitness.calls)

    less, more = (
        search(
            replace(problem, wanted_s=factor * problem.wanted_s), method, evaluations, limit_s=0
        )
        for factor in (0.9, 1.6)
    )

    assert less is not None
    assert more is not None
    assert len(fitness.calls) == known + 1
    assert key_of(fitness.calls[-1]) == key_of(more.best.plan)
    assert saved_s(more.best.plan) >= 1.6 * problem.wanted_s
