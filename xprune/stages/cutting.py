"""Cut a run's network by replacements, and tell what is to be solved in it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from xprune.attribution.scores import Scores
from xprune.layers.substitutes import Replacement
from xprune.layers.surgery import apply_plan, dead_layers
from xprune.recovery.refit import solvable_layers
from xprune.stages.workbench import Workbench


def cut_network(
    bench: Workbench, scores: Scores, chosen: Sequence[Replacement]
) -> tuple[nn.Module, list[Replacement]]:
    """Return the network with the chosen layers replaced and what went dead cut away."""
    cut = apply_plan(bench.detector.network, chosen)
    if not any(wanted.substitute == "zero" for wanted in chosen):
        return cut, list(chosen)
    named = {wanted.layer for wanted in chosen}
    dead = [
        wanted
        for wanted in dead_layers(cut, scores.candidates, bench.results)
        if wanted.layer not in named
    ]
    inside = tuple(f"{wanted.layer}." for wanted in dead)
    kept = [wanted for wanted in chosen if not wanted.layer.startswith(inside)]
    return apply_plan(bench.detector.network, [*kept, *dead]), [*kept, *dead]


def layers_to_solve(
    cut: nn.Module, removed: Sequence[str], scores: Scores, *, convolutions: bool
) -> list[str]:
    """Return the layers to solve; what runs before the first cut sees what it always saw."""
    order = [candidate.name for candidate in scores.candidates]
    first = min(order.index(name) for name in removed)
    before = set(order[:first])
    return [
        name
        for name in solvable_layers(cut, removed, convolutions=convolutions)
        if name not in before
    ]
