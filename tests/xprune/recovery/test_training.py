"""A training follows the clock, keeps the best, and goes on as if it had not been stopped."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from runtime_bench.errors import EdgeError
from tests.reference.toy_networks import noise, toy
from xprune.recovery import training
from xprune.recovery.state import Progress
from xprune.recovery.training import Task, Trained, learning_rate, train


@pytest.fixture(autouse=True)
def saving_always(monkeypatch):
    """States are saved after every step."""
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)


def ticks() -> Callable[[], float]:
    """A clock that moves on by a second whenever it is read."""
    count = itertools.count()
    return lambda: float(next(count))


def network() -> nn.Module:
    """The toy in 32 bits."""
    return toy(dtype=torch.float32)


def shifted(other: nn.Module) -> nn.Module:
    """A copy with moved weights: it has something to learn."""
    result = copy.deepcopy(other)
    generator = torch.Generator().manual_seed(5)
    for weight in result.parameters():
        weight.data += 0.05 * torch.randn(weight.shape, generator=generator)
    return result


def lesson(key: str = "toy", *, held_out: Callable[[nn.Module], float] | None = None) -> Task:
    """Give what the toy gives, on noise; other noise is held out."""
    images = noise(8, dtype=torch.float32)
    teacher = network()

    def loss(student: nn.Module, step: int) -> Tensor:
        batch = images[[step % 6, (step + 1) % 6]]
        return (student(batch) - teacher(batch)).pow(2).mean()

    def on_others(student: nn.Module) -> float:
        with torch.no_grad():
            return float((student(images[6:]) - teacher(images[6:])).pow(2).mean())

    return Task(loss, held_out or on_others, key)


def states_equal(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks hold the same values, to the last bit."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_loss_falls_and_nothing_else_changes():
    """The network that came in keeps its weights; statistics of normalisations stay."""
    student = shifted(network())
    before = copy.deepcopy(student)

    trained = train(student, lesson(), seconds=30, clock=ticks())

    assert trained.progress.best_loss < 0.8 * trained.progress.start_loss
    assert trained.progress.best_loss == pytest.approx(
        lesson().held_out(trained.network), rel=1e-4
    )
    assert trained.progress.start_loss == pytest.approx(lesson().held_out(before), rel=1e-4)
    assert states_equal(student, before)
    for name, module in trained.network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.running_mean, before.get_submodule(name).running_mean)
    assert not trained.network.training
    assert not any(weight.requires_grad for weight in trained.network.parameters())


def test_each_step_is_that_of_adamw():
    """A plain loop with PyTorch's own optimizer, clipping and an average by hand: equal."""
    student, task, seconds = shifted(network()), lesson(), 20
    trained = train(student, task, seconds=seconds, clock=ticks())

    slow = copy.deepcopy(student).requires_grad_(True)
    weights = list(slow.parameters())
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [w],
                "weight_decay": 0.01 if w.ndim > 1 else 0.0,
                "size": max(float(np.sqrt(np.mean(w.detach().numpy() ** 2))), 0.02),
            }
            for w in weights
        ],
        betas=(0.9, 0.99),
    )
    average = {name: weight.detach().clone() for name, weight in slow.named_parameters()}
    best, least = average, task.held_out(slow)
    now, checks = 1.0, [0.3, 0.6, 0.85, 1.0]
    for step in range(trained.progress.step):
        share = min(now / seconds, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(share, training.PEAK_RATE) * group["size"]
        optimizer.zero_grad()
        task.loss(slow, step).backward()
        nn.utils.clip_grad_norm_(weights, 10.0)
        optimizer.step()
        decay = 0.99 * (1 - math.exp(-(step + 1) / 50))
        for name, weight in slow.named_parameters():
            average[name] = decay * average[name] + (1 - decay) * weight.detach()
        now += 1
        if checks and now / seconds >= checks[0]:
            checks.pop(0)
            other = copy.deepcopy(slow)
            other.load_state_dict({**slow.state_dict(), **average})
            now += 1
            if (found := task.held_out(other)) < least:
                best, least = dict(average), found

    assert trained.progress.best_loss == pytest.approx(least, rel=1e-4)
    for name, weight in trained.network.named_parameters():
        torch.testing.assert_close(weight, best[name], rtol=1e-4, atol=1e-6)


def test_the_rate_rises_then_falls_with_the_time():
    """In a line to its peak, then in half a cosine to nearly nothing."""
    rates = [learning_rate(share / 100, 3.0) for share in range(101)]

    assert max(rates) == rates[10] == 3.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.02 * 3.0)
    assert 0 < rates[0] < 0.1 * 3.0


def test_small_and_large_weights_move_by_the_same_share():
    """A network whose layers are scaled apart learns as fast; AdamW alone would not."""
    student = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    with torch.no_grad():
        student[0].weight.mul_(100)
    target = torch.ones(8, 4)
    task = Task(
        lambda made, step: (made(target) - target).square().mean(),
        lambda made: float((made(target) - target).square().mean()),
        key="x",
    )

    trained = train(student, task, seconds=20, clock=ticks()).network

    moved = [
        float((new - old).detach().norm() / old.detach().norm())
        for new, old in zip(trained.parameters(), student.parameters(), strict=True)
    ]
    assert moved[0] == pytest.approx(moved[1], rel=0.5)


def test_it_is_never_worse_than_what_came_in():
    """Where everything is worse, what came in comes out, to the last bit."""
    student, losses = shifted(network()), itertools.count(1)

    trained = train(
        student, lesson(held_out=lambda _: float(next(losses))), seconds=20, clock=ticks()
    )

    assert states_equal(trained.network, student)
    assert trained.progress.best_loss == trained.progress.start_loss == 1.0


def test_the_best_is_kept_where_the_last_is_not_it():
    """Of five measurements the third is the lowest."""
    seen: list[nn.Module] = []

    def measured(student: nn.Module) -> float:
        seen.append(copy.deepcopy(student))
        return [3.0, 2.0, 1.0, 4.0, 5.0][len(seen) - 1]

    trained = train(shifted(network()), lesson(held_out=measured), seconds=24, clock=ticks())

    assert len(seen) == 5
    assert trained.progress.best_loss == 1.0
    assert states_equal(trained.network, seen[2])


class Stop(Exception):  # noqa: N818 - stands for a kill
    """Stops a training from outside."""


def stopped_at(step: int) -> Callable[[Progress], None]:
    """What stops a training after so many steps."""

    def look(progress: Progress) -> None:
        if progress.step == step:
            raise Stop

    return look


@pytest.mark.parametrize("step", [1, 6, 10])
def test_a_stopped_training_ends_as_if_it_had_not_been(tmp_path: Path, step: int):
    """Weights, losses and steps are the same to the last bit, wherever it was stopped."""
    student, state = shifted(network()), tmp_path / "state.safetensors"
    whole = train(student, lesson(), seconds=16, clock=ticks())

    with pytest.raises(Stop):
        train(
            student, lesson(), seconds=16, clock=ticks(), state=state, on_step=stopped_at(step)
        )
    ended = train(student, lesson(), seconds=16, clock=ticks(), state=state)

    assert ended.progress == whole.progress
    assert states_equal(ended.network, whole.network)


def test_a_training_that_ended_is_not_trained_further(tmp_path: Path):
    """Its state says that the time is up; the result is the same at once."""
    student, state = shifted(network()), tmp_path / "state.safetensors"
    ended = train(student, lesson(), seconds=8, clock=ticks(), state=state)

    again = train(student, lesson(), seconds=8, clock=ticks(), state=state)

    assert again.progress == ended.progress
    assert states_equal(again.network, ended.network)


def test_the_state_of_another_task_is_left_behind(tmp_path: Path):
    """Other pictures or weights are another training, which begins at its beginning."""
    student, state = shifted(network()), tmp_path / "state.safetensors"
    train(student, lesson("one"), seconds=8, clock=ticks(), state=state)
    seen: list[int] = []

    def look(progress: Progress) -> None:
        seen.append(progress.step)

    train(student, lesson("two"), seconds=8, clock=ticks(), state=state, on_step=look)

    assert seen[0] == 0


def test_a_step_without_a_finite_loss_changes_nothing():
    """One bad batch is passed over; the others still teach."""
    task = lesson()

    def loss(student: nn.Module, step: int) -> Tensor:
        return task.loss(student, step) * (math.nan if step % 2 else 1.0)

    trained: Trained = train(
        shifted(network()),
        Task(loss, task.held_out, "broken"),
        seconds=30,
        clock=ticks(),
    )

    assert all(torch.isfinite(weight).all() for weight in trained.network.parameters())
    assert trained.progress.best_loss < 0.9 * trained.progress.start_loss


def test_a_network_that_gives_no_numbers_is_an_error():
    """There is nothing to compare with, so nothing can be said to be better."""
    task = lesson(held_out=lambda _: math.nan)

    with pytest.raises(EdgeError, match="not finite"):
        train(network(), task, seconds=10, clock=ticks())


def test_what_is_frozen_stays_as_it_is(tmp_path: Path):
    """To the last bit, and after a stop as well; the rest is trained."""
    student, state = shifted(network()), tmp_path / "state.safetensors"
    frozen = frozenset({"stem.conv.weight", "stage.0.first.norm.bias"})
    task = Task(lesson().loss, lesson().held_out, "frozen", frozen)

    with pytest.raises(Stop):
        train(student, task, seconds=16, clock=ticks(), state=state, on_step=stopped_at(6))
    trained = train(student, task, seconds=16, clock=ticks(), state=state)

    before = dict(student.named_parameters())
    for name, weight in trained.network.named_parameters():
        assert torch.equal(weight, before[name]) is (name in frozen), name
