"""The toy network with plans tried on it, as the search tries them and plainly."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from tests.reference.toy_networks import noise, toy
from xprune.layers.candidates import Candidate, find_candidates
from xprune.layers.substitutes import Replacement, replacement
from xprune.layers.surgery import apply_plan
from xprune.pruning.knapsack import Option
from xprune.recovery.refit import refit, solvable_layers
from xprune.search.fitness import PlanFitness

FITTED, LOOKED_AT = 5, 4


class Trial:
    """A network, its layers, and what a fitness needs of both.

    Attributes:
        runs: The number of pictures in each run of a layer, by the layer's name.
    """

    def __init__(self) -> None:
        self.network = toy()
        self.candidates: tuple[Candidate, ...] = find_candidates(
            self.network, lambda: self.network(noise(1))
        )
        self.images = noise(FITTED + LOOKED_AT)

    def run(self, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = network(images)
        return output

    def distances(self, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return (outputs - wanted).square().mean(dim=(1, 2))

    def cut(self, chosen: Sequence[Replacement]) -> tuple[nn.Module, Sequence[Replacement]]:
        return apply_plan(self.network, chosen), chosen

    def solvable(self, cut: nn.Module, replaced: Sequence[Replacement]) -> list[str]:
        order = [candidate.name for candidate in self.candidates]
        first = min(order.index(wanted.layer) for wanted in replaced)
        layers = solvable_layers(cut, [w.layer for w in replaced], convolutions=True)
        return [name for name in layers if name not in order[:first]]

    def fitness(self, images: torch.Tensor | None = None) -> PlanFitness:
        return PlanFitness(
            self.network,
            self.candidates,
            self.images if images is None else images,
            fitted=FITTED,
            run=self.run,
            distances=self.distances,
            cut=self.cut,
            solvable=self.solvable,
        )

    def plainly(self, plan: Sequence[Option]) -> float:
        """Cut, solve and look without anything being recorded."""
        by_name = {candidate.name: candidate for candidate in self.candidates}
        chosen = [replacement(by_name[o.layer], o.substitute) for o in plan]
        cut, _ = self.cut(chosen)
        refit(
            self.network,
            cut,
            self.images[:FITTED],
            run=self.run,
            layers=self.solvable(cut, chosen),
        )
        looked_at = self.images[FITTED:]
        return float(self.distances(cut(looked_at), self.network(looked_at)).mean())


@pytest.fixture
def trial() -> Trial:
    """A fresh one."""
    return Trial()
