"""Exchange one layer at a time, and look how far the outputs move: the criterion `divergence`.

It is what the recovery learns to undo and needs no label. A gradient sees the first step of a
change alone: it makes too much of early layers, whose small errors the later ones even out.
Only the most promising are looked at, since each look is a run of what comes after the layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from runtime_bench.errors import EdgeError
from xprune.attribution.attribute import summary
from xprune.attribution.criteria import DIVERGENCE, SHORTLIST
from xprune.attribution.gates import Substitutes, closed_gates
from xprune.attribution.scores import LayerScore, ScoreTable
from xprune.layers.candidates import Candidate
from xprune.layers.replay import BATCH, Replay

# Of the options so many are looked at, those of the lowest cheap score.
MOST_LOOKS = 160

Outputs = Any
Name = tuple[str, str]  # layer, substitute
Progress = Callable[[Iterable[int], str, int], Iterable[int]]


@dataclass(frozen=True)
class LookingTask:
    """What it takes to see what a layer does to the outputs.

    Attributes:
        network: In eval mode.
        candidates: All layers of the network, in the order in which they run.
        images: Pictures (P, 3, H, W), all looked at.
        run: Runs a network on pictures.
        distances: Of (outputs, the whole network's): how far each picture's moved, (B,), 0
            where nothing did.
    """

    network: nn.Module
    candidates: Sequence[Candidate]
    images: torch.Tensor
    run: Callable[[nn.Module, torch.Tensor], Outputs]
    distances: Callable[[Outputs, Outputs], torch.Tensor]


def divergence_tables(
    task: LookingTask,
    substitutes: Substitutes,
    tables: Iterable[ScoreTable],
    progress: Progress,
    *,
    most: int = MOST_LOOKS,
) -> Iterator[ScoreTable]:
    """Yield a table for each substitute.

    What was not looked at is estimated, as no better than anything that was. Its spread is
    unknown, and stands as 0.

    Args:
        task: The network, its pictures, and what tells outputs apart.
        substitutes: For each layer its substitutes, solved.
        tables: Of other criteria; those of `SHORTLIST` tell what is worth a look.
        progress: Shows how far it is.
        most: So many options are looked at.

    Raises:
        EdgeError: If outputs are not finite.
    """
    known = {
        (layer, str(table.substitute)): score.mean
        for table in tables
        if table.criterion == SHORTLIST
        for layer, score in table.layers.items()
        if table.substitute in substitutes.get(layer, {})
    }
    worth_it = sorted(known, key=known.__getitem__)[:most]
    seen = _looked_at(task, substitutes, worth_it, progress)
    estimate = _beyond(known, seen)
    found: dict[str, dict[str, LayerScore]] = {}
    for (layer, substitute), score in known.items():
        look = seen.get((layer, substitute))
        found.setdefault(substitute, {})[layer] = look or LayerScore(estimate(score), 0.0)
    for substitute, layers in found.items():
        yield ScoreTable(DIVERGENCE, substitute, layers)


def _looked_at(
    task: LookingTask, substitutes: Substitutes, names: Sequence[Name], progress: Progress
) -> dict[Name, LayerScore]:
    """Return how far each exchange moves the outputs; what runs before it is only replayed."""
    replay = Replay(task.network, task.candidates, task.images, task.run)
    batches = torch.split(replay.images, BATCH)
    with torch.no_grad():
        whole = [replay.run(task.network, batch) for batch in batches]
    order = {candidate.name: index for index, candidate in enumerate(task.candidates)}
    in_turn = sorted(names, key=lambda name: order[name[0]])
    steps = iter(progress(range(len(names)), "Looking at layers", len(names)))
    seen = {}
    grouped = itertools.groupby(in_turn, key=lambda name: tuple(replay.before([name[0]])))
    for before, group in grouped:
        playing = replay.playing(task.network, before)
        for layer, substitute in group:
            next(steps, None)
            with (
                torch.no_grad(),
                closed_gates(playing, {layer: substitutes[layer][substitute]}),
            ):
                moved = [
                    task.distances(replay.run(playing, batch), outputs)
                    for batch, outputs in zip(batches, whole, strict=True)
                ]
            seen[layer, substitute] = _finite(torch.cat(moved), layer, substitute)
    for _ in steps:  # closes the bar
        pass
    return seen


def _finite(moved: torch.Tensor, layer: str, substitute: str) -> LayerScore:
    if not torch.isfinite(moved).all():
        raise EdgeError(
            f"with {substitute} in the place of {layer} the outputs are not finite; check that "
            "the weights are trained"
        )
    return summary(moved)


def _beyond(
    known: Mapping[Name, float], seen: Mapping[Name, LayerScore]
) -> Callable[[float], float]:
    """Return what estimates the divergence of an option that was not looked at.

    The cheap score puts it behind all that were; a fit through them would follow the many that
    change nothing. So it is held for worse than the worst of them, as much as the cheap score
    says.
    """
    worst = max((score.mean for score in seen.values()), default=1.0)
    last = max((known[name] for name in seen), default=1.0)
    return lambda score: worst * (score / last if last > 0 else 1.0)
