"""The choice is the one that trying all of them finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.brute_force_plan import least_cost, most_saved, possible
from xprune.pruning.knapsack import ENOUGH, SAME_COST, Option, choose, most_saved_s

Problem = tuple[dict[str, str | None], list[Option]]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """A small forest of layers, parents first, with up to two options for each layer."""
    numbers = st.floats(1e-9, 10.0) | st.sampled_from([0.1, 0.2, 0.3, 1.0])
    parents: dict[str, str | None] = {}
    options = []
    for index in range(draw(st.integers(1, 6))):
        parents[f"l{index}"] = draw(st.sampled_from([None, *parents]))
        for substitute in draw(st.lists(st.sampled_from("ab"), max_size=2, unique=True)):
            cost = draw(numbers) * draw(st.sampled_from([-1, 1, 1, 1e6]))
            options.append(Option(f"l{index}", substitute, cost, draw(numbers)))
    return parents, options


def random_problem(seed: int) -> tuple[dict[str, str | None], list[Option], float]:
    """A small forest of layers, parents first, with up to three options each, and a wish.

    Every fourth one has whole numbers, so that many choices tie; seconds are from nanoseconds
    to tens of them, costs of any size, a fifth of them below nothing.
    """
    generator = np.random.default_rng(seed)
    scale_s, scale = 10.0 ** generator.uniform(-9, 1), 10.0 ** generator.uniform(-12, 12)
    if seed % 4 == 0:
        scale_s = scale = 1.0
    parents: dict[str, str | None] = {}
    options = []
    for index in range(generator.integers(1, 7)):
        earlier = [None, *parents]
        parents[f"l{index}"] = earlier[generator.integers(len(earlier))]
        for substitute in "abc"[: generator.integers(4)]:
            cost, saved_s = generator.uniform(-0.25, 1) * scale, generator.random() * scale_s
            if seed % 4 == 0:
                cost, saved_s = (
                    float(generator.integers(-2, 6)),
                    float(generator.integers(1, 5)),
                )
            options.append(Option(f"l{index}", substitute, cost, saved_s))
    most_s = most_saved_s(parents, options) or scale_s
    wanted_s = generator.uniform(0.05, 1.05) * most_s
    return parents, options, float(math.ceil(wanted_s)) if seed % 4 == 0 else wanted_s


def total(chosen: list[Option]) -> tuple[float, float]:
    """Sum of costs, and of savings."""
    return math.fsum(o.cost for o in chosen), math.fsum(o.saved_s for o in chosen)


@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_the_choice_costs_least(first: int):
    """As brute force finds it in a thousand forests: nested, tied, of any scale."""
    for seed in range(first, first + 100):
        parents, options, wanted_s = random_problem(seed)

        chosen = choose(parents, options, wanted_s)

        best = least_cost(parents, options, wanted_s * ENOUGH)
        assert (chosen is None) == (best is None), seed
        if chosen is not None:
            cost, saved_s = total(chosen)
            assert cost == pytest.approx(best, rel=1e-9, abs=0), seed
            assert saved_s >= wanted_s * (1 - 1e-12), seed
            assert possible(parents, chosen), seed
            taken = {option.layer for option in chosen}
            assert [option.layer for option in chosen] == [n for n in parents if n in taken]


@settings(max_examples=150)
@given(problems())
def test_the_choice_costs_least_whatever_is_drawn(problem: Problem):
    """The same where hypothesis looks for what breaks it: equal, tiny and huge numbers."""
    parents, options = problem
    wanted_s = 0.6 * most_saved_s(parents, options)
    if wanted_s == 0:
        return

    chosen = choose(parents, options, wanted_s)

    best = least_cost(parents, options, wanted_s * ENOUGH)
    assert chosen is not None
    spread = SAME_COST * sum(abs(option.cost) for option in options)
    assert total(chosen)[0] <= best + spread
    assert total(chosen)[1] >= wanted_s * ENOUGH


@pytest.mark.parametrize("kind", ["any", "alike", "equal"])
@pytest.mark.parametrize("seed", range(3))
def test_many_layers_cost_no_more_than_in_parts(kind: str, seed: int):
    """Of 200 layers with 6 options: at least what is wanted, close to the bound from below.

    The bound: options that may be taken in parts, by bisecting the price of a second.
    """
    generator = np.random.default_rng(seed)
    parents: dict[str, str | None] = {}
    options = []
    for index in range(200):
        parents[f"l{index}"] = f"l{index - 1}" if index % 3 else None
        for number in range(6):
            saved_s = generator.uniform(1e-5, 1e-3)
            noise = {"any": 1.0, "alike": 0.1, "equal": 0.0}[kind] * generator.random()
            options.append(Option(f"l{index}", str(number), 1e3 * saved_s + noise, saved_s))
    wanted_s = 0.4 * most_saved_s(parents, options)

    chosen = choose(parents, options, wanted_s)

    assert chosen is not None
    cost, saved_s = total(chosen)
    bound = max(
        price * wanted_s + cheapest_at(parents, options, price)
        for price in np.geomspace(1, 1e5, 3000)
    )
    assert saved_s >= wanted_s * ENOUGH
    assert bound <= cost <= 1.01 * bound


def cheapest_at(parents: dict[str, str | None], options: list[Option], price: float) -> float:
    """The least cost when each second saved is paid for: best own option or best inside."""
    own = dict.fromkeys(parents, 0.0)
    for option in options:
        own[option.layer] = min(own[option.layer], option.cost - price * option.saved_s)
    inside: dict[str | None, float] = {}
    for layer in reversed(list(parents)):
        best = min(own[layer], inside.get(layer, 0.0))
        inside[parents[layer]] = inside.get(parents[layer], 0.0) + best
    return inside[None]


@settings(max_examples=100)
@given(problems())
def test_the_most_that_can_be_saved(problem: Problem):
    """As brute force."""
    parents, options = problem

    assert most_saved_s(parents, options) == pytest.approx(most_saved(parents, options))


def test_all_that_can_be_saved_is_reachable():
    """Rounding to steps must not make the last bit out of reach."""
    parents = {f"l{index}": None for index in range(30)}
    options = [Option(layer, "a", 1.0, 1.0 + index / 77) for index, layer in enumerate(parents)]

    chosen = choose(parents, options, 0.999 * most_saved_s(parents, options))

    assert chosen is not None
    assert len(chosen) == 30


def test_options_that_save_nothing_are_left_out():
    """However cheap they are."""
    parents = {"l0": None, "l1": None}
    options = [
        Option("l0", "a", -5.0, 0.0),
        Option("l0", "b", -5.0, -1.0),
        Option("l1", "a", 1, 2),
    ]

    assert choose(parents, options, 1.0) == [options[2]]


def test_a_block_and_its_children_exclude_each_other():
    """The block alone is cheaper than both of its children, which together save as much."""
    parents = {"block": None, "block.a": "block", "block.b": "block"}
    block = Option("block", "linear", 3.0, 2.0)
    children = [Option("block.a", "linear", 2.0, 1.0), Option("block.b", "linear", 2.0, 1.0)]

    assert choose(parents, [block, *children], 2.0) == [block]
    assert choose(parents, [block, *children], 1.0) in ([children[0]], [children[1]])
    assert choose(parents, [block, *children], 2.1) is None


def test_nothing_to_choose_from_is_none():
    """No layer, or no option."""
    assert choose({}, [], 1.0) is None
    assert choose({"l0": None}, [], 1.0) is None
    assert most_saved_s({"l0": None}, []) == 0
