"""What two networks begin with is computed once, and nothing that comes out changes."""

from __future__ import annotations

import copy

import torch
from torch import nn

from tests.reference.toy_networks import TOY_SIZE, toy
from xprune.layers.substitutes import Replacement
from xprune.layers.surgery import apply_plan
from xprune.recovery.same import leading_same
from xprune.recovery.shared import answering, frozen_parts, kept


def cut_toy() -> tuple[nn.Module, nn.Module, frozenset[str]]:
    """The toy, the toy with one layer cut, and the names of what comes before the cut."""
    original = toy()
    cut = apply_plan(original, [Replacement("stage.1", "linear", 6, 6)])
    return original, cut, leading_same(cut, original)


def test_the_largest_parts_before_the_first_cut():
    """All their parameters are frozen, and none is inside another one."""
    _, cut, frozen = cut_toy()

    parts = frozen_parts(cut, frozen)

    held = [
        f"{part}.{name}"
        for part in parts
        for name, _ in cut.get_submodule(part).named_parameters()
    ]
    assert sorted(held) == sorted(frozen)
    assert not any(a != b and a.startswith(f"{b}.") for a in parts for b in parts)


def test_outputs_and_gradients_are_those_of_a_network_that_ran_alone():
    """With half of its modules answering at once; afterwards it runs by itself again."""
    original, cut, frozen = cut_toy()
    images = torch.rand(2, 3, *TOY_SIZE).double()
    for name, weight in cut.named_parameters():
        weight.requires_grad_(name not in frozen)
    alone = cut(images)
    alone.sum().backward()
    wanted = {n: w.grad.clone() for n, w in cut.named_parameters() if w.grad is not None}
    cut.zero_grad()

    with torch.no_grad(), kept(original, frozen_parts(cut, frozen), 2) as given:
        original(images)
    with answering(cut, given):
        shared = cut(images)
    shared.sum().backward()

    assert given
    torch.testing.assert_close(shared, alone)
    for name, gradient in wanted.items():
        torch.testing.assert_close(cut.get_parameter(name).grad, gradient)
    assert not torch.equal(cut(torch.rand_like(images)), alone)
    copy.deepcopy(cut)  # nothing of it is left behind


def test_what_runs_twice_gives_nothing():
    """One answer would not do for both."""
    layer = nn.Linear(2, 2)
    network = nn.Sequential(layer, nn.ReLU(), layer)

    with kept(network, ("0",), 1) as given:
        network(torch.rand(1, 2))

    assert given == {}


def test_what_has_no_row_a_picture_gives_nothing():
    """The head of a two-stage detector has one for each region."""
    network = nn.Sequential(nn.Linear(3, 3), nn.Unflatten(1, (3, 1)), nn.Flatten(0, 1))
    network.append(nn.Linear(1, 1))

    with kept(network, ("0", "3"), 2) as given:
        network(torch.rand(2, 3))

    assert set(given) == {"0"}
