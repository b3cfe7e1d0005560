"""Score every candidate of a detector on some pictures.

First the substitutes are solved (one forward pass), then one forward and one backward pass for
each batch give all gradient criteria at once; the ablation oracle runs only when asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from runtime_bench.errors import EdgeError
from xprune.attribution import criteria
from xprune.attribution.gates import GateMoments, Substitutes, closed_gates, recorded_gates
from xprune.attribution.scores import LayerScore, ScoreTable
from xprune.attribution.solve import solve_substitutes
from xprune.attribution.widths import spread_widths
from xprune.layers.candidates import Candidate

Progress = Callable[[Iterable[int], str, int], Iterable[int]]


@dataclass(frozen=True)
class ScoringTask:
    """What attribution needs to know of a detector and its pictures.

    Attributes:
        network: In eval mode, without in-place activations; its weights need no gradient.
        candidates: The layers to score.
        batches: Number of batches.
        forward: Runs a batch by its index and returns what `losses` takes.
        losses: One training loss for each picture of the batch, (B,).
    """

    network: nn.Module
    candidates: tuple[Candidate, ...]
    batches: int
    forward: Callable[[int], object]
    losses: Callable[[int, object], torch.Tensor]


def spread_candidates(task: ScoringTask, progress: Progress) -> tuple[Candidate, ...]:
    """Return the task's candidates with the widths that suit the task's pictures best."""
    with _steps(progress, "Looking at widths") as steps:
        return spread_widths(
            task.network,
            task.candidates,
            batches=task.batches,
            forward=task.forward,
            steps=steps,
        )


def fitted_substitutes(
    task: ScoringTask, wanted: str, progress: Progress
) -> tuple[dict[str, dict[str, nn.Module]], dict[str, dict[str, float]]]:
    """Return for each candidate its applicable substitutes, solved on the task's pictures.

    Returns:
        The modules, and for each solved one the share of the output's variance that it misses.
    """
    with _steps(progress, "Solving substitutes") as steps:
        return solve_substitutes(
            task.network,
            task.candidates,
            wanted,
            batches=task.batches,
            forward=task.forward,
            steps=steps,
        )


@contextmanager
def _steps(progress: Progress, label: str) -> Iterator[Callable[[int], Callable[[], object]]]:
    """Give what makes a bar for a number of steps; it is closed in the end."""
    bars: list[Iterator[int]] = []

    def steps(count: int) -> Callable[[], object]:
        bar = iter(progress(range(count), label, count))
        bars.append(bar)
        return lambda: next(bar, None)

    yield steps
    for bar in bars:
        deque(bar, maxlen=0)  # closes it


def gradient_moments(
    task: ScoringTask, substitutes: Substitutes, progress: Progress
) -> tuple[dict[str, GateMoments], torch.Tensor]:
    """Return the gate moments of every candidate, and the losses (pictures,).

    Raises:
        EdgeError: If a loss is not finite.
    """
    moments = {candidate.name: GateMoments() for candidate in task.candidates}
    losses: list[torch.Tensor] = []
    for batch in progress(range(task.batches), "Scoring layers", task.batches):
        first = sum(map(len, losses))
        with recorded_gates(task.network, substitutes, first) as found:
            loss = task.losses(batch, task.forward(batch))
            if not torch.isfinite(loss).all():
                raise EdgeError("the loss is not finite; check that the weights are trained")
            found.pictures = len(loss)
            loss.sum().backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        for name, seen in moments.items():
            seen.extend(found.get(name, _silent(substitutes[name], len(loss))))
    return moments, torch.cat(losses)


def gradient_tables(moments: Mapping[str, GateMoments]) -> Iterator[ScoreTable]:
    """Turn moments into the tables of all gradient criteria.

    An activation is not removed but made cheaper: only what looks at its substitute scores it.
    """
    for criterion, activation_score in criteria.ACTIVATION.items():
        scores = {
            name: summary(activation_score(gate))
            for name, gate in moments.items()
            if set(gate.removal_abs) != {"clip"}
        }
        yield ScoreTable(criterion, None, scores)
    substitutes = dict.fromkeys(name for gate in moments.values() for name in gate.removal_abs)
    for criterion, removal_score in criteria.REMOVAL.items():
        for substitute in substitutes:
            scores = {
                name: summary(removal_score(gate, substitute))
                for name, gate in moments.items()
                if substitute in gate.removal_abs
            }
            yield ScoreTable(criterion, substitute, scores)


def data_free_tables(
    network: nn.Module, names: Sequence[str], seed: int
) -> Iterator[ScoreTable]:
    """Return the tables of the criteria that look at no picture."""
    for criterion, weight_score in criteria.WEIGHTS.items():
        scores = {name: weight_score(network.get_submodule(name)) for name in names}
        yield ScoreTable(
            criterion, None, {name: LayerScore(value, 0.0) for name, value in scores.items()}
        )
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(len(names), generator=generator, dtype=torch.float64).tolist()
    yield ScoreTable(
        criteria.RANDOM,
        None,
        {name: LayerScore(value, 0.0) for name, value in zip(names, values, strict=True)},
    )


def ablation_tables(
    task: ScoringTask, substitutes: Substitutes, progress: Progress
) -> Iterator[ScoreTable]:
    """Close one gate at a time and measure how far the loss rises: the oracle."""
    base = _losses(task)
    tables: dict[str, dict[str, LayerScore]] = {}
    closings = [(layer, name) for layer, choices in substitutes.items() for name in choices]
    for index in progress(range(len(closings)), "Closing gates one by one", len(closings)):
        layer, name = closings[index]
        with closed_gates(task.network, {layer: substitutes[layer][name]}):
            rise = _losses(task) - base
        tables.setdefault(name, {})[layer] = summary(rise)
    for name, scores in tables.items():
        yield ScoreTable(criteria.ABLATION, name, scores)


def _losses(task: ScoringTask) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(
            [task.losses(batch, task.forward(batch)) for batch in range(task.batches)]
        )


def _silent(choices: Mapping[str, nn.Module], pictures: int) -> GateMoments:
    """The moments of a layer that the loss does not depend on: all zero."""
    zeros = torch.zeros(pictures)
    return GateMoments(
        elements=1,
        activation_abs=zeros,
        removal_abs=dict.fromkeys(choices, zeros),
        removal_sum=dict.fromkeys(choices, zeros),
    )


def summary(values: torch.Tensor) -> LayerScore:
    """Return mean and spread of one value for each picture, (B,)."""
    exact = values.to(torch.float64)
    spread = float(exact.std()) if len(exact) > 1 else 0.0
    return LayerScore(float(exact.mean()), spread)
