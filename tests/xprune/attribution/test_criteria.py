"""The criteria by name, and which of them look at a substitute."""

from __future__ import annotations

import pytest

from runtime_bench.errors import EdgeError
from xprune.attribution import criteria

NAMES = (
    "grad_act",
    "grad_act_mean",
    "removal",
    "removal_signed",
    "fisher",
    "l1",
    "l1_mean",
    "random",
    "divergence",
    "ablation",
)


def test_every_criterion_is_known_once():
    """The list for people is the union of what is computed."""
    computed = [
        *criteria.ACTIVATION,
        *criteria.REMOVAL,
        *criteria.WEIGHTS,
        "random",
        *criteria.ON_REQUEST[::-1],
    ]

    assert tuple(computed) == tuple(criteria.CRITERIA) == NAMES
    assert [criteria.check_criterion(name) for name in NAMES] == list(NAMES)


def test_an_unknown_criterion_is_an_error():
    """The message lists those there are."""
    with pytest.raises(
        EdgeError, match="'taylor'; there are: grad_act, grad_act_mean, removal"
    ):
        criteria.check_criterion("taylor")


def test_only_some_depend_on_the_substitute():
    """Those that compare with it, and the oracle."""
    dependent = [name for name in NAMES if criteria.needs_substitute(name)]

    assert dependent == ["removal", "removal_signed", "fisher", "divergence", "ablation"]
