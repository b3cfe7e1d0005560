"""What a plan is worth: cut, solve, and look at pictures that were not solved on.

No label is needed: the measure is how far the outputs move from the unpruned network's own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from xprune.layers.candidates import Candidate
from xprune.layers.replay import BATCH, Replay
from xprune.layers.substitutes import Replacement, replacement
from xprune.recovery.refit import refit
from xprune.search.problem import Plan

# Raised when what a fitness means changes: what is known by another version does not count.
VERSION = 2
Outputs = Any
# Of (network, replacements): the cut network, and all that was replaced in it.
Cut = Callable[[Sequence[Replacement]], tuple[nn.Module, Sequence[Replacement]]]
# Of (cut network, replacements): the names of what is to be solved in it.
Solvable = Callable[[nn.Module, Sequence[Replacement]], Sequence[str]]


class PlanFitness:
    """Tries plans out on one network.

    Attributes:
        replay: The unpruned network and its records on all pictures.
        fitted: So many of the first pictures are solved on; the others are looked at.
    """

    def __init__(
        self,
        network: nn.Module,
        candidates: Sequence[Candidate],
        images: torch.Tensor,
        *,
        fitted: int,
        run: Callable[[nn.Module, torch.Tensor], Outputs],
        distances: Callable[[Outputs, Outputs], torch.Tensor],
        cut: Cut,
        solvable: Solvable,
    ) -> None:
        """Record the unpruned network.

        Args:
            network: The unpruned network.
            candidates: Its layers.
            images: Pictures (P, 3, H, W).
            fitted: How many of them are solved on, fewer than all.
            run: Runs a network on pictures.
            distances: Of (outputs, the unpruned network's): how far each picture's moved, (B,).
            cut: Returns the network with replacements in place, not yet solved.
            solvable: Tells what is to be solved in it.
        """
        assert 0 < fitted < len(images), "some pictures to solve on, and some to look at"
        self.fitted = fitted
        self._candidates: Mapping[str, Candidate] = {c.name: c for c in candidates}
        self._distances, self._cut, self._solvable = distances, cut, solvable
        self.replay = Replay(network, candidates, images, run)
        with torch.no_grad():
            self._wanted = [run(network, batch) for batch in self._looked_at()]

    def solving(self, solvable: Solvable) -> PlanFitness:
        """Return the same, on the same records, with something else to be solved."""
        other = copy.copy(self)
        other._solvable = solvable
        return other

    def __call__(self, plan: Plan) -> float:
        """Return the mean distance over the pictures that were not solved on."""
        chosen = [replacement(self._candidates[o.layer], o.substitute) for o in plan]
        cut, replaced = self._cut(chosen)
        layers = self.replay.before(wanted.layer for wanted in replaced)
        playing = self.replay.playing(cut, layers)
        inside = tuple(f"{name}." for name in layers)
        refit(
            self.replay.playing(self.replay.network, layers),
            playing,
            self.replay.images[: self.fitted],
            run=self.replay.run,
            layers=[
                name
                for name in self._solvable(cut, replaced)
                if name not in layers and not name.startswith(inside)
            ],
        )
        moved = []
        with torch.no_grad():
            for batch, wanted in zip(self._looked_at(), self._wanted, strict=True):
                moved.append(self._distances(self.replay.run(playing, batch), wanted))
        return float(torch.cat(moved).mean())

    def _looked_at(self) -> list[torch.Tensor]:
        images = self.replay.images
        return [images[i : i + BATCH] for i in range(self.fitted, len(images), BATCH)]
