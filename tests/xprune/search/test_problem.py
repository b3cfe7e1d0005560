"""Plans that save enough, completed and trimmed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.brute_force_plan import least_cost, possible
from tests.reference.toy_plans import toy_problem
from xprune.pruning.knapsack import Option
from xprune.search.problem import Problem, key_of, saved_s


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_kept_options_stay_and_the_rest_is_the_knapsack(seed: int):
    """With nothing kept it is the exact plan; what is kept stays, none nested, enough saved."""
    problem, _ = toy_problem(seed)
    kept = problem.plan([problem.options[seed % len(problem.options)]])

    free = problem.cheapest(problem.costs)
    extended = problem.cheapest(problem.costs, kept=kept)

    if free is None:  # all of them together save too little
        assert least_cost(problem.parents, problem.options, problem.wanted_s) is None
        return
    slightly_more = problem.wanted_s * (1 + len(problem.parents) / 400)
    dearer = least_cost(problem.parents, problem.options, slightly_more)
    assert dearer is None or sum(option.cost for option in free) <= dearer + 1e-9
    if extended is not None:
        assert set(kept) <= set(extended)
        assert possible(problem.parents, extended)
        assert problem.saves_enough(extended)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_trimming_drops_what_is_not_needed(seed: int):
    """No option of the result can go; it saves enough still."""
    problem, _ = toy_problem(seed)
    plan = problem.cheapest(problem.costs, wanted_s=1.3 * problem.wanted_s)
    if plan is None:
        return

    trimmed = problem.trimmed(plan, problem.costs)

    assert set(trimmed) <= set(plan)
    assert problem.saves_enough(trimmed)
    for option in trimmed:
        less = tuple(other for other in trimmed if other is not option)
        assert not less or not problem.saves_enough(less)


def test_seeds_are_the_plans_of_all_criteria_none_twice():
    """The run's own first; its options keep the run's costs."""
    options = [Option(f"l{i}", "linear", float(i), 1.0) for i in range(3)]
    other = {("l0", "linear"): 9.0, ("l1", "linear"): 5.0, ("l2", "linear"): 1.0}
    problem = Problem(dict.fromkeys(("l0", "l1", "l2")), options, 1.0, other_costs=[other])

    keys = [key_of(plan) for plan in problem.seeds]

    assert keys[:2] == [(("l0", "linear"),), (("l2", "linear"),)]
    assert len(set(keys)) == len(keys)
    assert problem.seeds[1][0] is options[2]


def test_what_saves_nothing_is_no_option():
    """However cheap."""
    options = [Option("l0", "affine", -1.0, 0.0), Option("l0", "linear", 1.0, 1.0)]

    problem = Problem({"l0": None}, options, 1.0)

    assert list(problem.by_name) == [("l0", "linear")]
    assert problem.by_promise == [options[1]]


def test_shaken_costs_keep_their_sign_and_change_their_order():
    """Of one criterion at a time."""
    problem, _ = toy_problem(0)
    draw = random.Random(0)

    shaken = [problem.shaken(draw, 0.7) for _ in range(20)]

    assert all(set(costs) == set(problem.costs) for costs in shaken)
    assert all(value > 0 for costs in shaken for value in costs.values())
    orders = {tuple(sorted(costs, key=lambda name: costs[name])) for costs in shaken}
    assert len(orders) > 10


def test_a_saving_is_a_sum():
    """Of the options' seconds."""
    assert saved_s([Option("a", "linear", 1, 0.5), Option("b", "linear", 1, 0.25)]) == 0.75
    assert saved_s([]) == pytest.approx(0)
