"""What is looked at is what the cut network does; the rest is estimated from it."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
import torch

from runtime_bench.errors import EdgeError
from tests.reference.toy_networks import noise
from tests.xprune.attribution.yolo_task import read_scenes
from xprune.attribution.attribute import fitted_substitutes
from xprune.attribution.divergence import LookingTask, divergence_tables
from xprune.attribution.scores import LayerScore, ScoreTable
from xprune.layers.substitutes import replacement
from xprune.layers.surgery import apply_plan
from xprune.models.families import YOLO


def squared(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of each picture."""
    return (outputs - wanted).square().flatten(1).mean(1)


def cheap_tables(substitutes) -> list[ScoreTable]:
    """Return made-up scores, another one for each option: 1, 2, 3 and so on."""
    numbers = iter(range(1, 1000))
    tables: dict[str, dict[str, LayerScore]] = {}
    for layer, modules in substitutes.items():
        for name in modules:
            tables.setdefault(name, {})[layer] = LayerScore(float(next(numbers)), 0.0)
    return [ScoreTable("fisher", name, layers) for name, layers in tables.items()]


def scores_of(tables) -> dict[tuple[str, str], LayerScore]:
    """Return all scores by layer and substitute."""
    return {
        (layer, table.substitute): score
        for table in tables
        for layer, score in table.layers.items()
    }


@pytest.fixture
def looking(task) -> LookingTask:
    """The toy on five pictures of noise."""
    return LookingTask(
        task.network, task.candidates, noise(5), lambda network, x: network(x), squared
    )


def test_a_look_is_what_the_cut_network_does(looking, substitutes, progress):
    """Mean and spread over pictures, of every layer and substitute."""
    tables = divergence_tables(looking, substitutes, cheap_tables(substitutes), progress)

    found = scores_of(tables)
    assert set(found) == {(layer, name) for layer, some in substitutes.items() for name in some}
    whole = looking.network(noise(5))
    for candidate in looking.candidates:
        for name, module in substitutes[candidate.name].items():
            cut = apply_plan(looking.network, [replacement(candidate, name)])
            cut.get_submodule(candidate.name).load_state_dict(module.state_dict())
            moved = squared(cut(noise(5)), whole).tolist()
            score = found[candidate.name, name]
            assert score.mean == pytest.approx(statistics.fmean(moved), rel=1e-9, abs=1e-12)
            assert score.std == pytest.approx(statistics.stdev(moved), rel=1e-9, abs=1e-12)


def test_a_look_at_a_yolo_is_what_the_cut_network_does(scenes_file: Path, progress):
    """Its own distances, for a block, a layer with a stride, an activation, and its head."""
    scenes = read_scenes(scenes_file)
    layers = ("model.1", "model.2.cv1.act", "model.6.m.0", "model.22.cv3.0")
    scoring = scenes.task(batch=16, targets="labels", layers=layers)
    substitutes, _ = fitted_substitutes(scoring, "auto", progress)
    images = scenes.pictures.images(0, 4)
    task = LookingTask(
        scenes.network,
        scenes.candidates,
        images,
        YOLO.head_outputs,
        YOLO.output_distances,
    )

    found = scores_of(divergence_tables(task, substitutes, cheap_tables(substitutes), progress))

    assert len(found) > 12
    with torch.no_grad():
        whole = YOLO.head_outputs(scenes.network, images)
        for candidate in scoring.candidates:
            for name, module in substitutes[candidate.name].items():
                cut = apply_plan(scenes.network, [replacement(candidate, name)])
                cut.get_submodule(candidate.name).load_state_dict(module.state_dict())
                moved = YOLO.output_distances(YOLO.head_outputs(cut, images), whole)
                score = found[candidate.name, name]
                assert score.mean == pytest.approx(float(moved.mean()), rel=1e-3, abs=1e-6)


def test_what_is_not_looked_at_counts_as_worse_than_all_that_was(
    looking, substitutes, progress
):
    """In the order of the cheap score, though branches that change nothing were looked at."""
    cheap = cheap_tables(substitutes)
    known = {name: score.mean for name, score in scores_of(cheap).items()}
    all_seen = scores_of(divergence_tables(looking, substitutes, cheap, progress))

    found = scores_of(divergence_tables(looking, substitutes, cheap, progress, most=9))

    in_order = sorted(known, key=known.__getitem__)
    seen, unseen = in_order[:9], in_order[9:]
    assert {name: found[name] for name in seen} == {name: all_seen[name] for name in seen}
    worst = max(all_seen[name].mean for name in seen)
    assert worst > 0
    for name in unseen:
        assert found[name].mean == pytest.approx(worst * known[name] / known[seen[-1]])
        assert found[name].mean > worst
        assert found[name].std == 0.0


def test_it_leaves_the_network_as_it_was(looking, substitutes, progress):
    """No hook stays, and what it says is the same."""
    before = looking.network(noise(5))

    list(divergence_tables(looking, substitutes, cheap_tables(substitutes), progress))

    assert torch.equal(looking.network(noise(5)), before)
    assert not any(module._forward_hooks for module in looking.network.modules())


def test_outputs_that_are_not_finite_are_an_error(looking, substitutes, progress):
    """The message names the layer and what stood in its place."""
    layer, name = "stem.conv", "linear"
    for weight in substitutes[layer][name].parameters():
        weight.fill_(torch.nan)

    with pytest.raises(EdgeError, match=r"with linear in the place of stem\.conv the outputs"):
        list(divergence_tables(looking, substitutes, cheap_tables(substitutes), progress))
