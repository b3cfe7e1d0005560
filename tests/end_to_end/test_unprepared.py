"""A network that nobody prepared for is scored, cut, solved and exported, or refused."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from exporters.graph import build_graph
from exporters.parity import check_parity
from exporters.probes import make_probes
from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import OutputSpec
from runtime_bench.errors import EdgeError
from xprune.attribution.attribute import (
    ScoringTask,
    data_free_tables,
    fitted_substitutes,
    gradient_moments,
    gradient_tables,
)
from xprune.attribution.scores import LayerScore, Scores
from xprune.layers.candidates import find_candidates
from xprune.layers.substitutes import applicable, replacement
from xprune.layers.surgery import apply_plan
from xprune.pruning.plan import Request
from xprune.pruning.plan_by_count import plan_by_count
from xprune.recovery.refit import refit, solvable_layers

SIZE = (32, 48)
PICTURES, BATCH = 12, 4


class Split(nn.Module):
    """Answers with a dictionary, in the middle of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.SiLU())
        self.coarse = nn.ModuleDict({"down": nn.Conv2d(8, 8, 3, 2, padding=1)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map (B, 8, H, W) to maps of two sizes."""
        return {"fine": self.fine(x), "coarse": self.coarse["down"](x)}


class Join(nn.Module):
    """Takes a dictionary and a keyword, and answers with a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.ModuleList([nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1, bias=False)])

    def forward(self, maps: dict[str, Tensor], *, scale: float) -> tuple[Tensor, Tensor]:
        """Return both maps, mixed at the size of the fine one."""
        up = functional.interpolate(maps["coarse"], scale_factor=2.0)
        return self.mix[0](maps["fine"]) + scale * up, self.mix[1](up)


class Odd(nn.Module):
    """Shared, nested, with a dictionary, a pair, a keyword, and a bare parameter."""

    def __init__(self, *, branches: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.split, self.join = Split(), Join()
        self.shared = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.gain = nn.Parameter(torch.full((8, 1, 1), 0.5))
        self.head = nn.Linear(8, 5)
        self.branches = branches

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to scores (B, 5)."""
        x = self.stem(images)
        first, second = self.join(self.split(x), scale=0.3)
        # One module, twice, on maps of different sizes.
        x = self.shared(first) + functional.interpolate(
            self.shared(functional.avg_pool2d(second, 2)), scale_factor=2.0
        )
        if self.branches and x.mean() > 0:
            x = -x
        logits: Tensor = self.head((x * self.gain).mean((2, 3)))
        return logits.softmax(1)


def odd(**how: bool) -> nn.Module:
    """The network with random weights, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Odd(**how).eval().requires_grad_(False)


def plain(steps: Iterable[int], label: str, total: int) -> Iterable[int]:
    """Progress that is not shown."""
    del label, total
    return steps


def scored(network: nn.Module, images: Tensor) -> Scores:
    """Score every layer that could go, by what the network itself answers."""
    candidates = find_candidates(network, lambda: network(images[:1]))
    with torch.no_grad():
        wanted = network(images).argmax(1)
    task = ScoringTask(
        network=network,
        candidates=candidates,
        batches=PICTURES // BATCH,
        forward=lambda index: network(images[index * BATCH : (index + 1) * BATCH]),
        losses=lambda index, outputs: functional.nll_loss(
            outputs.log(), wanted[index * BATCH : (index + 1) * BATCH], reduction="none"
        ),
    )
    substitutes, errors = fitted_substitutes(task, "auto", plain)
    moments, losses = gradient_moments(task, substitutes, plain)
    names = [candidate.name for candidate in candidates if not candidate.activation]
    tables = (*gradient_tables(moments), *data_free_tables(network, names, 0))
    loss = LayerScore(float(losses.mean()), float(losses.std()))
    return Scores("odd", None, SIZE, 0, "own", (), loss, candidates, tables, errors)


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Pictures drawn by chance, with more light at one side."""
    made = torch.rand(PICTURES, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    return made * torch.linspace(0.2, 1.0, SIZE[1])


@pytest.mark.parametrize("criterion", ["removal", "fisher", "grad_act", "l1"])
def test_it_goes_the_whole_line(criterion: str, images: Tensor) -> None:
    """The file of the cut network answers as the cut network does, and that as before."""
    network = odd()
    scores = scored(network, images)
    names = {candidate.name for candidate in scores.candidates}
    assert {"stem", "split.fine", "split.coarse.down", "shared", "join.mix.1"} <= names
    assert not {"split", "join", "head"} & names

    made = plan_by_count(
        scores, criterion=criterion, substitute="auto", asked=Request(layers=3)
    )
    by_name = {candidate.name: candidate for candidate in scores.candidates}
    chosen = [replacement(by_name[c.layer], c.substitute) for c in made.choices]
    cut = apply_plan(network, chosen)
    layers = solvable_layers(cut, [one.layer for one in chosen], convolutions=True)
    refit(network, cut, images, run=lambda net, x: net(x), layers=layers)

    with torch.no_grad():
        assert (cut(images) - network(images)).abs().max() < 0.05
    assert_exported(cut, images)


def assert_exported(network: nn.Module, images: Tensor) -> None:
    """Export a network, and compare the file with it."""
    spec = InputSpec(size=SIZE)
    pixels = (images[:2] * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    probes = make_probes(list(pixels), spec)
    graph = build_graph(network, size=SIZE, probes=probes, output_name="scores")
    with torch.no_grad():
        wanted = {k: network(torch.from_numpy(x))[0].numpy() for k, x in probes.items()}
    output = OutputSpec(kind="scores", names=("scores",))

    figures = check_parity(graph.model.SerializeToString(), wanted, probes, output=output)

    assert figures["scores"]["max_difference"] <= 1e-4
    assert graph.simplifier != "none"


def test_every_substitute_of_every_layer_fits(images: Tensor) -> None:
    """One at a time: the cut network runs, and gives what has the same shape."""
    network = odd()
    candidates = find_candidates(network, lambda: network(images[:1]))
    tried = 0
    for candidate in candidates:
        for name in applicable(candidate):
            cut = apply_plan(network, [replacement(candidate, name)])
            with torch.no_grad():
                assert cut(images[:2]).shape == (2, 5)
            tried += 1
    assert tried > 20


def test_what_branches_on_values_is_refused_with_the_reason() -> None:
    """An ONNX graph has one way through it."""
    spec = InputSpec(size=SIZE)
    probes = make_probes([np.zeros((32, 48, 3), np.uint8)], spec)

    with pytest.raises(EdgeError, match="may branch on the values of a tensor") as refusal:
        build_graph(odd(branches=True), size=SIZE, probes=probes)

    assert "\n" not in str(refusal.value)
