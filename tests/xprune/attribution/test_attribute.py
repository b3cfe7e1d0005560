"""Scores are the criteria's definitions, whatever the batch; the oracle is the cut network."""

from __future__ import annotations

import copy
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from runtime_bench.errors import EdgeError
from tests.reference import slow_scores
from tests.reference.toy_networks import noise, toy, toy_losses
from tests.xprune.attribution.yolo_task import Scenes, read_scenes
from xprune.attribution import gates
from xprune.attribution.attribute import (
    ablation_tables,
    data_free_tables,
    fitted_substitutes,
    gradient_moments,
    gradient_tables,
)
from xprune.attribution.scores import ScoreTable
from xprune.layers import moments as sums
from xprune.layers.substitutes import FAMILIES, SUBSTITUTES, replacement
from xprune.layers.surgery import apply_plan

LAYERS = ("stem.conv", "stage", "down", "tower", "tower.0", "out")


def by_key(tables) -> dict[tuple[str, str | None], ScoreTable]:
    """Index tables by criterion and substitute."""
    return {(table.criterion, table.substitute): table for table in tables}


@pytest.fixture(scope="module")
def scenes(scenes_file: Path) -> Scenes:
    """Twelve built-in scenes, the last without targets."""
    return read_scenes(scenes_file)


@pytest.mark.parametrize("layer", LAYERS)
def test_tables_hold_mean_and_spread_of_the_definitions(
    task, substitutes, progress, layer, monkeypatch
):
    """Every gradient criterion and substitute: mean and standard deviation over pictures."""
    monkeypatch.setattr(gates, "RICH_EVERY", 1)
    network = task.network
    pictures = slow_scores.calls(
        network, layer, noise(5), lambda x, number: toy_losses(network(x), number).sum()
    )

    moments, losses = gradient_moments(task, substitutes, progress)
    tables = by_key(gradient_tables(moments))

    expected = {(name, None): of(pictures) for name, of in slow_scores.ACTIVATION.items()}
    for name, of in slow_scores.REMOVAL.items():
        for substitute, module in substitutes[layer].items():
            expected[name, substitute] = of(pictures, module)
    found = {key: table.layers[layer] for key, table in tables.items() if layer in table.layers}
    assert set(found) == set(expected)
    for key, values in expected.items():
        assert found[key].mean == pytest.approx(statistics.fmean(values))
        assert found[key].std == pytest.approx(statistics.stdev(values))
    assert torch.allclose(losses, toy_losses(network(noise(5))))


def test_all_criteria_take_one_pass_each_way(task, substitutes, progress):
    """The network runs once for each batch, however many layers and substitutes there are."""
    runs = []
    handle = task.network.register_forward_hook(lambda *_: runs.append(1))

    gradient_moments(task, substitutes, progress)

    handle.remove()
    assert len(runs) == task.batches == 3


def assert_agree(first: dict, second: dict, tolerance: float) -> None:
    """Compare scores layer by layer; signed sums, which cancel, by the size of their terms."""
    assert first.keys() == second.keys()
    for (criterion, substitute), table in first.items():
        for layer, score in table.layers.items():
            scale = abs(score.mean)
            if criterion in ("removal_signed", "fisher"):
                terms = first["removal", substitute].layers[layer].mean
                scale = terms if criterion == "removal_signed" else max(scale, terms**2)
            difference = abs(second[criterion, substitute].layers[layer].mean - score.mean)
            assert difference <= tolerance * scale, (criterion, substitute, layer)


def sees_window(substitute: str | None) -> bool:
    """Whether a substitute looks at an output pixel's neighbours."""
    if substitute is None:
        return False
    return SUBSTITUTES[substitute].sees_window or substitute in FAMILIES["thin"]


@pytest.mark.parametrize("targets", ["labels", "own detections"])
def test_scores_of_a_yolo_do_not_depend_on_the_batch(scenes, progress, targets):
    """Picture by picture and all at once agree to 1e-4, with a picture that has no target.

    In float64, so that a substitute that misses next to nothing is told from rounding. Left out
    are substitutes that see a window: they have more unknowns than there are samples here.
    """
    scenes = replace(scenes, network=copy.deepcopy(scenes.network).double())
    assert sum(len(target.labels) for target in scenes.targets[targets]) > 12
    substitutes, _ = fitted_substitutes(
        scenes.task(batch=16, targets=targets), "auto", progress
    )

    tables = []
    for batch in (16, 5, 1):
        task = scenes.task(batch=batch, targets=targets)
        moments, losses = gradient_moments(task, substitutes, progress)
        assert len(losses) == 12
        found = by_key(gradient_tables(moments))
        tables.append({key: table for key, table in found.items() if not sees_window(key[1])})

    assert_agree(tables[0], tables[1], 1e-4)
    assert_agree(tables[0], tables[2], 1e-4)


def test_scoring_a_yolo_leaves_it_as_it_was(scenes, progress):
    """Weights, flags, gradients and hooks."""
    network = scenes.network
    state = copy.deepcopy(network.state_dict())
    task = scenes.task(batch=16, targets="labels")

    substitutes, _ = fitted_substitutes(task, "auto", progress)
    gradient_moments(task, substitutes, progress)

    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert not any(w.requires_grad or w.grad is not None for w in network.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert not any(module.training for module in network.modules())


def test_substitutes_do_not_depend_on_the_batch(scenes, progress):
    """Weights solved from single pictures and from all at once are the same."""
    layers = ("model.1", "model.4.m.0", "model.9", "model.22.cv2.1")
    solved = [
        fitted_substitutes(
            scenes.task(batch=b, targets="labels", layers=layers), "auto", progress
        )
        for b in (1, 16)
    ]

    for layer, modules in solved[0][0].items():
        for name, module in modules.items():
            if sees_window(name):  # more unknowns than there are samples here
                continue
            for weight, other in zip(
                module.parameters(), solved[1][0][layer][name].parameters(), strict=True
            ):
                assert torch.allclose(weight, other, rtol=1e-3, atol=1e-5)
    for layer, errors in solved[0][1].items():
        for name, error in errors.items():
            if not sees_window(name):
                assert error == pytest.approx(solved[1][1][layer][name], rel=1e-3, abs=1e-6)


def test_substitutes_are_solved_from_all_calls(task, progress, monkeypatch):
    """The tower's affine is the regression over its three calls on all pictures, by NumPy."""
    monkeypatch.setattr(sums, "RIDGE", 1e-12)

    modules, errors = fitted_substitutes(task, "affine", progress)

    calls = []
    handle = task.network.tower.register_forward_hook(
        lambda _, args, output: calls.append((args[0].numpy(), output.numpy()))
    )
    task.network(noise(5))
    handle.remove()
    x, y = zip(*calls, strict=True)
    missed = total = 0.0
    for channel in range(8):
        one_x, one_y = (
            np.concatenate([m[:, channel].ravel() for m in maps]) for maps in (x, y)
        )
        scale, shift = np.polyfit(one_x, one_y, 1)
        affine = modules["tower"]["affine"]
        assert float(affine.scale[0, channel]) == pytest.approx(scale, rel=1e-6)
        assert float(affine.shift[0, channel]) == pytest.approx(shift, rel=1e-6)
        missed += ((one_y - scale * one_x - shift) ** 2).sum()
        total += ((one_y - one_y.mean()) ** 2).sum()
    assert errors["tower"]["affine"] == pytest.approx(missed / total, rel=1e-6)
    assert "affine" not in modules["stem"]


def test_bypassing_needs_no_solving(task, progress):
    """Identities and zeros have no weights: the network does not even run."""
    task = replace(task, forward=lambda index: pytest.fail("ran"))

    for wanted in ("identity", "zero"):
        modules, errors = fitted_substitutes(task, wanted, progress)
        assert errors == {}
        assert set(modules["stage"]) == {wanted}


def test_the_oracle_is_the_loss_of_the_cut_network(task, substitutes, progress):
    """Closing a gate does what `apply_plan` with the same weights does, mean and spread."""
    base = toy_losses(task.network(noise(5)))

    tables = by_key(ablation_tables(task, substitutes, progress))

    for candidate in task.candidates:
        for name, module in substitutes[candidate.name].items():
            cut = apply_plan(task.network, [replacement(candidate, name)])
            cut.get_submodule(candidate.name).load_state_dict(module.state_dict())
            rise = (toy_losses(cut(noise(5))) - base).tolist()
            score = tables["ablation", name].layers[candidate.name]
            assert score.mean == pytest.approx(statistics.fmean(rise), rel=1e-9, abs=1e-9)
            assert score.std == pytest.approx(statistics.stdev(rise), rel=1e-9, abs=1e-9)


def test_the_oracle_of_a_yolo_is_the_loss_of_the_cut_network(scenes, progress):
    """The same on a YOLO, for a block, a layer with a stride and a branch of the head."""
    layers = ("model.1", "model.6.m.0", "model.22.cv3.0")
    task = scenes.task(batch=16, targets="labels", layers=layers)
    substitutes, _ = fitted_substitutes(task, "linear", progress)

    (table,) = ablation_tables(task, substitutes, progress)

    whole = task.losses(0, task.forward(0))
    for candidate in task.candidates:
        cut = apply_plan(task.network, [replacement(candidate, "linear")])
        module = substitutes[candidate.name]["linear"]
        cut.get_submodule(candidate.name).load_state_dict(module.state_dict())
        cut_task = replace(scenes, network=cut).task(batch=16, targets="labels")
        rise = cut_task.losses(0, cut_task.forward(0)) - whole
        assert table.layers[candidate.name].mean == pytest.approx(float(rise.mean()), rel=1e-3)


def test_a_layer_without_effect_scores_nothing(task, substitutes, progress):
    """If the loss does not look at a layer's output at all, every gradient score is zero."""
    stem = task.network.stem
    only_stem = replace(
        task,
        forward=lambda index: stem(noise(5)[2 * index : 2 * index + 2]),
        losses=lambda index, outputs: outputs.square().sum(dim=(1, 2, 3)),
    )

    moments, _ = gradient_moments(only_stem, substitutes, progress)

    for table in gradient_tables(moments):
        for name, score in table.layers.items():
            assert (score.mean != 0) == (name in ("stem", "stem.conv", "stem.act"))
    assert {len(gate.activation_abs) for gate in moments.values()} == {5}


def test_a_loss_that_is_not_finite_is_an_error(task, substitutes, progress):
    """Scores of a broken network would be meaningless, and are no JSON."""
    broken = replace(task, losses=lambda index, out: out.sum(dim=(1, 2)) * float("nan"))

    with pytest.raises(EdgeError, match="not finite"):
        gradient_moments(broken, substitutes, progress)


def test_weight_scores_are_plain_sums():
    """Σ|W| and its mean over convolution kernels; biases and norms do not count."""
    network = toy()
    names = ["stem", "stem.conv", "stage", "tower", "out"]

    tables = by_key(data_free_tables(network, names, seed=0))

    for name in names:
        kernels = [
            abs(value)
            for module in network.get_submodule(name).modules()
            if isinstance(module, nn.Conv2d)
            for value in module.weight.flatten().tolist()
        ]
        assert tables["l1", None].layers[name].mean == pytest.approx(sum(kernels))
        mean = statistics.fmean(kernels)
        assert tables["l1_mean", None].layers[name].mean == pytest.approx(mean)
        assert tables["l1", None].layers[name].std == 0


def test_random_scores_repeat_with_their_seed():
    """The same seed gives the same numbers in [0, 1), another seed others, and all differ."""
    network, names = toy(), ["stem", "stage", "down"]
    state = torch.random.get_rng_state()

    def draw(seed: int) -> list[float]:
        layers = by_key(data_free_tables(network, names, seed))["random", None].layers
        return [layers[name].mean for name in names]

    assert draw(1) == draw(1) != draw(2)
    assert len(set(draw(1))) == 3
    assert all(0 <= value < 1 for value in draw(1))
    assert torch.equal(torch.random.get_rng_state(), state)
