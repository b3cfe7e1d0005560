"""Score every candidate of a detector on some pictures.

First the substitutes are solved (one forward pass), then one forward and one backward pass for
each batch give all gradient criteria at once; the ablation oracle runs only when asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

from runtime_bench.errors import EdgeError
from xprune.attribution import criteria
from xprune.attribution.gates import GateMoments, Substitutes, closed_gates, recorded_gates
from xprune.attribution.scores import LayerScore, ScoreTable
from xprune.layers.candidates import Candidate
from xprune.layers.fit import add_samples, fit, is_solvable, moment_bytes, new_moments, view_of
from xprune.layers.hooks import placed
from xprune.layers.moments import Moments, View, sampled_outputs
from xprune.layers.substitutes import applicable, build, replacement

Progress = Callable[[Iterable[int], str, int], Iterable[int]]
# A layer, and what the substitutes that share moments look at.
Key = tuple[str, View]

# Moments of a 3x3 window of 256 channels take 42 MiB; more pictures are run instead of more
# memory taken.
MOMENT_BYTES = 256 << 20


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


def fitted_substitutes(
    task: ScoringTask, wanted: str, progress: Progress
) -> tuple[dict[str, dict[str, nn.Module]], dict[str, dict[str, float]]]:
    """Return for each candidate its applicable substitutes, solved on the task's pictures.

    Returns:
        The modules, and for each solved one the share of the output's variance that it misses.
    """
    modules = {
        candidate.name: {
            name: build(replacement(candidate, name)).to(_precision(task.network, candidate))
            for name in applicable(candidate, wanted)
        }
        for candidate in task.candidates
    }
    groups = _groups(modules)
    steps = len(groups) * task.batches
    done = iter(progress(range(steps), "Solving substitutes", steps))
    errors: dict[str, dict[str, float]] = {}
    for group in groups:
        moments = {key: new_moments(same[0]) for key, same in group.items()}
        with torch.no_grad(), _collecting(task.network, group, moments):
            for batch in range(task.batches):
                next(done, None)
                task.forward(batch)
        for key in group:
            sums = moments.pop(key)
            for name, module in modules[key[0]].items():
                if is_solvable(module) and view_of(module) == key[1]:
                    errors.setdefault(key[0], {})[name] = fit(module, sums)
    for _ in done:  # closes the bar
        pass
    return modules, errors


def gradient_moments(
    task: ScoringTask, substitutes: Substitutes, progress: Progress
) -> tuple[dict[str, GateMoments], torch.Tensor]:
    """Return the gate moments of every candidate, and the losses (pictures,).

    Raises:
        EdgeError: If a loss is not finite.
    """
    moments = {candidate.name: GateMoments() for candidate in task.candidates}
    losses = []
    for batch in progress(range(task.batches), "Scoring layers", task.batches):
        with recorded_gates(task.network, substitutes) as found:
            loss = task.losses(batch, task.forward(batch))
            if not torch.isfinite(loss).all():
                raise EdgeError("the loss is not finite; check that the weights are trained")
            loss.sum().backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
        for name, seen in moments.items():
            seen.extend(found.get(name, _silent(substitutes[name], len(loss))))
    return moments, torch.cat(losses)


def gradient_tables(moments: Mapping[str, GateMoments]) -> Iterator[ScoreTable]:
    """Turn moments into the tables of all gradient criteria."""
    for criterion, activation_score in criteria.ACTIVATION.items():
        scores = {name: _summary(activation_score(gate)) for name, gate in moments.items()}
        yield ScoreTable(criterion, None, scores)
    substitutes = dict.fromkeys(name for gate in moments.values() for name in gate.removal_abs)
    for criterion, removal_score in criteria.REMOVAL.items():
        for substitute in substitutes:
            scores = {
                name: _summary(removal_score(gate, substitute))
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
        tables.setdefault(name, {})[layer] = _summary(rise)
    for name, scores in tables.items():
        yield ScoreTable(criteria.ABLATION, name, scores)


def _losses(task: ScoringTask) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(
            [task.losses(batch, task.forward(batch)) for batch in range(task.batches)]
        )


def _groups(modules: Substitutes) -> list[dict[Key, list[nn.Module]]]:
    """Return who shares moments, in groups of layers whose moments fit into memory at once."""
    groups: list[dict[Key, list[nn.Module]]] = []
    left_bytes = 0
    for layer, choices in modules.items():
        sharing: dict[Key, list[nn.Module]] = {}
        for module in choices.values():
            if is_solvable(module):
                sharing.setdefault((layer, view_of(module)), []).append(module)
        needed_bytes = sum(moment_bytes(same[0]) for same in sharing.values())
        if sharing and (not groups or needed_bytes > left_bytes):
            groups.append({})
            left_bytes = MOMENT_BYTES
        if sharing:
            groups[-1].update(sharing)
            left_bytes -= needed_bytes
    return groups


def _collecting(
    network: nn.Module, group: Mapping[Key, Sequence[nn.Module]], moments: Mapping[Key, Moments]
) -> AbstractContextManager[None]:
    def collect(layer: str, x: torch.Tensor, y: torch.Tensor) -> None:
        wanted = sampled_outputs(y)
        for key, same in group.items():
            if key[0] == layer:
                add_samples(moments[key], same[0], x, wanted)

    return placed(
        network.get_submodule(layer).register_forward_hook(
            lambda module, args, output, layer=layer: collect(layer, args[0], output)
        )
        for layer in dict.fromkeys(layer for layer, _ in group)
    )


def _precision(network: nn.Module, candidate: Candidate) -> torch.dtype:
    return next(network.get_submodule(candidate.name).parameters()).dtype


def _silent(choices: Mapping[str, nn.Module], pictures: int) -> GateMoments:
    """The moments of a layer that the loss does not depend on: all zero."""
    zeros = torch.zeros(pictures)
    return GateMoments(
        elements=1,
        activation_abs=zeros,
        removal_abs=dict.fromkeys(choices, zeros),
        removal_sum=dict.fromkeys(choices, zeros),
    )


def _summary(values: torch.Tensor) -> LayerScore:
    exact = values.to(torch.float64)
    spread = float(exact.std()) if len(exact) > 1 else 0.0
    return LayerScore(float(exact.mean()), spread)
