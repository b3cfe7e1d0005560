"""The choice is the one that trying all of them finds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.brute_force_plan import least_cost, most_saved, possible
from xprune.pruning.knapsack import STEPS, Option, choose, most_saved_s

Problem = tuple[dict[str, str | None], list[Option]]


@st.composite
def problems(draw: st.DrawFn, *, whole_steps: bool) -> Problem:
    """A small forest of layers, parents first, with up to two options for each layer.

    Savings are whole numbers of steps when STEPS seconds are wanted, or any numbers.
    """
    saving = st.integers(1, STEPS + 50) if whole_steps else st.floats(0.5, STEPS)
    parents: dict[str, str | None] = {}
    options = []
    for index in range(draw(st.integers(1, 6))):
        earlier = [None, *parents]
        parents[f"l{index}"] = draw(st.sampled_from(earlier))
        for substitute in draw(st.lists(st.sampled_from("ab"), max_size=2, unique=True)):
            cost, saved_s = draw(st.integers(-4, 30)), draw(saving)
            options.append(Option(f"l{index}", substitute, float(cost), float(saved_s)))
    return parents, options


def total(chosen: list[Option]) -> tuple[float, float]:
    """Sum of costs, and of savings."""
    return sum(option.cost for option in chosen), sum(option.saved_s for option in chosen)


@settings(max_examples=150)
@given(problems(whole_steps=True))
def test_the_choice_costs_least(problem: Problem):
    """Where savings are whole steps, exactly as brute force, negative costs included."""
    parents, options = problem

    chosen = choose(parents, options, float(STEPS))

    best = least_cost(parents, options, STEPS)
    assert (chosen is None) == (best is None)
    if chosen is not None:
        cost, saved_s = total(chosen)
        assert cost == best
        assert saved_s >= STEPS
        assert possible(parents, chosen)
        assert [option.layer for option in chosen] == [
            layer for layer in parents if layer in {option.layer for option in chosen}
        ]


@settings(max_examples=150)
@given(problems(whole_steps=False))
def test_rounding_never_falls_short(problem: Problem):
    """With any savings enough is saved, at no more cost than a slightly larger wish has."""
    parents, options = problem
    wanted_s = 250.0

    chosen = choose(parents, options, wanted_s)

    assert (chosen is None) == (least_cost(parents, options, wanted_s) is None)
    if chosen is not None:
        cost, saved_s = total(chosen)
        assert saved_s >= wanted_s * (1 - 1e-6)
        assert possible(parents, chosen)
        rounded = least_cost(parents, options, wanted_s * (1 + len(parents) / STEPS))
        assert rounded is None or cost <= rounded


@settings(max_examples=100)
@given(problems(whole_steps=False))
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
