"""What comes before the first change is found, whatever comes after it."""

from __future__ import annotations

import copy

import pytest

from tests.reference.toy_networks import toy
from xprune.layers.substitutes import Replacement
from xprune.layers.surgery import apply_plan
from xprune.recovery.same import leading_same, untouched


def test_all_before_the_first_change_is_the_same():
    """A later layer that is as it was is not among them: what it sees has changed."""
    original = toy()
    cut = apply_plan(original, [Replacement("stage.1", "linear", 6, 6)])

    same = leading_same(cut, original)

    names = [name for name, _ in original.named_parameters()]
    first = next(index for index, name in enumerate(names) if name.startswith("stage.1."))
    assert same == set(names[:first])


@pytest.mark.parametrize("part", ["weight", "running_mean"])
def test_a_changed_value_is_a_change(part):
    """Also of a statistic, which is no parameter."""
    original = toy()
    changed = copy.deepcopy(original)
    getattr(changed.down.norm, part).data[0] += 1

    same = leading_same(changed, original)

    assert "down.conv.weight" in same
    assert ("down.norm.weight" in same) is (part == "running_mean")
    assert not any(name.startswith("tower") for name in same)


def test_a_network_that_is_as_it_was_is_trained_as_a_whole():
    """At another input size there may be something to win all the same."""
    assert leading_same(toy(), toy()) == frozenset()


def test_what_nobody_replaced_is_untouched():
    """Before and after the cut, whatever its values; of the substitute nothing is."""
    original = toy()
    cut = apply_plan(original, [Replacement("stage.1", "linear", 6, 6)])
    cut.down.conv.weight.data += 1  # solved again

    names = untouched(cut, original)

    assert names == {
        name for name, _ in cut.named_parameters() if not name.startswith("stage.1")
    }
    assert "down.conv.weight" in names


def test_where_nothing_was_replaced_all_may_be_trained():
    """Labels may teach what the original did not know."""
    assert untouched(toy(), toy()) == frozenset()
