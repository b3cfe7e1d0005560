"""The toy as a scoring task, with substitutes that have weights of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn

from tests.reference.toy_networks import noise, toy, toy_losses
from xprune.attribution.attribute import ScoringTask
from xprune.layers.candidates import Candidate, find_candidates
from xprune.layers.substitutes import applicable, build, replacement

PICTURES = 5


def quiet(batches: Iterable[int], label: str, total: int) -> Iterable[int]:
    """Progress that shows nothing."""
    return batches


def toy_task(*, batch: int) -> ScoringTask:
    """Five pictures of noise on the toy in float64."""
    network, images = toy(), noise(PICTURES)
    return ScoringTask(
        network=network,
        candidates=find_candidates(network, lambda: network(images[:1])),
        batches=-(-PICTURES // batch),
        forward=lambda index: network(images[index * batch : (index + 1) * batch]),
        losses=lambda index, outputs: toy_losses(outputs, index * batch),
    )


@pytest.fixture
def make_task() -> Callable[..., ScoringTask]:
    """`toy_task`, for batches of any size."""
    return toy_task


@pytest.fixture
def progress() -> Callable[[Iterable[int], str, int], Iterable[int]]:
    """`quiet`, what every function takes."""
    return quiet


@pytest.fixture
def task() -> ScoringTask:
    """The toy's task, two pictures to a batch."""
    return toy_task(batch=2)


@pytest.fixture
def substitutes(task: ScoringTask) -> dict[str, dict[str, nn.Module]]:
    """For each of the toy's layers every substitute that fits, a zero last."""
    return {c.name: _filled(task.network.get_submodule(c.name), c) for c in task.candidates}


def _filled(layer: nn.Module, candidate: Candidate) -> dict[str, nn.Module]:
    generator = torch.Generator().manual_seed(0)
    modules = {
        name: build(replacement(candidate, name), layer).to(torch.float64)
        for name in (*applicable(candidate), *applicable(candidate, "zero"))
    }
    for module in modules.values():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return modules
