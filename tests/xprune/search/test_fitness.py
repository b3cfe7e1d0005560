"""A plan's fitness is what cutting, solving and looking plainly gives, only sooner."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from tests.reference.toy_networks import LooksTwice
from tests.xprune.search.conftest import FITTED, Trial
from xprune.layers import replay as replay_module
from xprune.layers.candidates import find_candidates
from xprune.layers.replay import Player, Replay
from xprune.pruning.knapsack import Option


def options(*names: tuple[str, str]) -> tuple[Option, ...]:
    """Options of which only the names matter here."""
    return tuple(Option(layer, substitute, 1.0, 1.0) for layer, substitute in names)


PLANS = [
    options(("stem", "linear")),
    options(("stage.0.first", "affine")),
    options(("stage.1", "identity")),
    options(("stage.0.second", "linear"), ("down", "linear")),
    options(("stage.1.second.conv", "linear"), ("tower", "affine")),
    options(("tower.0", "linear")),
    options(("tower", "identity")),
]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan[0].layer)
def test_it_is_what_doing_it_plainly_gives(trial: Trial, plan: tuple[Option, ...]):
    """Nothing before the first cut changes, so playing it back changes nothing."""
    fitness = trial.fitness()

    assert fitness(plan) == pytest.approx(trial.plainly(plan), rel=1e-9)
    assert fitness(plan) == fitness(plan)


def test_what_was_tried_before_leaves_no_trace(trial: Trial):
    """In the network, or in the next plan."""
    weights = copy.deepcopy(trial.network.state_dict())
    fitness = trial.fitness()
    first = [fitness(plan) for plan in PLANS]

    assert [trial.fitness()(plan) for plan in reversed(PLANS)] == first[::-1]
    for name, tensor in trial.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_it_looks_at_pictures_that_were_not_solved_on(trial: Trial):
    """Other pictures to look at change it, while the solved weights stay as they were."""
    other = trial.images.clone()
    other[FITTED:] = other[FITTED:].flip(0) * 0.5

    values = [trial.fitness(images)(PLANS[3]) for images in (trial.images, other)]

    assert values[0] != pytest.approx(values[1], rel=1e-3)


def test_layers_before_the_first_cut_do_not_run(trial: Trial):
    """But those that it is in do, and a layer that runs several times always does."""
    replay = trial.fitness().replay

    assert replay.before(["stem.conv"]) == []
    assert replay.before(["stage.1.second"]) == ["stem"]
    assert replay.before(["tower.0", "down"]) == ["stem", "stage"]
    assert "tower" not in replay.records
    playing = replay.playing(trial.network, replay.before(["down"]))
    assert isinstance(playing.get_submodule("stage"), Player)
    assert playing.get_submodule("down").conv.weight is trial.network.down.conv.weight


def test_a_played_network_gives_what_it_gave_for_any_slice(trial: Trial):
    """Pictures are told by their place in memory; others are refused."""
    replay = trial.fitness().replay
    playing = replay.playing(trial.network, replay.before(["down"]))

    for part in (slice(0, 3), slice(4, 5), slice(2, 9)):
        played = replay.run(playing, trial.images[part])
        assert torch.allclose(played, trial.network(trial.images[part]), rtol=1e-9)
    with pytest.raises(AssertionError):
        replay.run(playing, trial.images[1:3].clone())


def test_a_head_is_played_for_all_regions_of_its_pictures():
    """It has several rows for each picture; those of the slice that runs come back."""
    torch.manual_seed(0)
    network, images = LooksTwice().eval().requires_grad_(False), torch.rand(5, 3, 16, 16)
    candidates = find_candidates(network, lambda: network(images[:1]))
    replay = Replay(network, candidates, images, lambda net, x: net(x))

    playing = replay.playing(network, ["head"])

    assert len(replay.records["head"]) == 4 * len(images)
    assert torch.equal(replay.run(playing, images[2:4]), network(images)[2:4])


def test_records_that_are_too_large_are_not_kept(trial: Trial, monkeypatch):
    """Their layers run; the largest maps go first."""
    whole = Replay(trial.network, trial.candidates, trial.images, trial.run)
    largest = max(whole.records.values(), key=lambda record: record.nbytes)
    monkeypatch.setattr(
        replay_module,
        "MOST_BYTES",
        sum(record.nbytes for record in whole.records.values()) - largest.nbytes,
    )

    fitness = trial.fitness()

    assert 0 < len(fitness.replay.records) < len(whole.records)
    for plan in PLANS:
        assert fitness(plan) == pytest.approx(trial.plainly(plan), rel=1e-9)


def test_a_plan_that_does_more_harm_is_worse(trial: Trial):
    """A layer less is worse than the layer solved; both are finite."""
    fitness = trial.fitness()

    solved, gone = (fitness(options(("stem", name))) for name in ("linear", "zero"))

    assert 0 < solved < gone
    assert math.isfinite(gone)
