"""Cut a network by a plan and solve what is left."""

from __future__ import annotations

from dataclasses import replace

from runtime_bench.progress import track
from xprune.attribution.scores import Scores
from xprune.layers.substitutes import replacement
from xprune.models.detector import Detector
from xprune.pruning.plan import PrunePlan
from xprune.recovery.refit import refit
from xprune.stages.cutting import cut_network, layers_to_solve
from xprune.stages.workbench import Workbench

# A refit holds its pictures' feature maps at once: at 640 px about 20 MB each.
REFIT_PICTURES = 256


def prune_detector(
    bench: Workbench, scores: Scores, made: PrunePlan
) -> tuple[Detector, dict[str, float]]:
    """Return the pruned detector, and for each solved layer the variance it misses.

    A plan without choices leaves the detector as it is. The last plan that was solved is kept,
    since a plan is solved to be timed before it is used.

    Raises:
        EdgeError: If the plan leaves nothing of the network's result.
    """
    if not made.choices:
        return replace(bench.detector, plan=()), {}
    key = (made.pairs, bench.run.config.recover)
    if bench.solved is None or bench.solved[0] != key:
        bench.solved = (key, _solved(bench, scores, made))
    return bench.solved[1]


def _solved(
    bench: Workbench, scores: Scores, made: PrunePlan
) -> tuple[Detector, dict[str, float]]:
    candidates = {candidate.name: candidate for candidate in scores.candidates}
    chosen = [replacement(candidates[c.layer], c.substitute) for c in made.choices]
    cut, replacements = cut_network(bench, scores, chosen)
    names = [wanted.layer for wanted in replacements]
    layers = layers_to_solve(
        cut, names, scores, convolutions=bench.run.config.recover != "none"
    )
    progress = iter(track(layers, label="Solving layers"))
    images = bench.calibration.images(0, REFIT_PICTURES)
    errors = refit(
        bench.detector.network,
        cut,
        images,
        run=bench.forward,
        layers=layers,
        on_solved=lambda _: next(progress, None),
    )
    for _ in progress:  # closes the bar
        pass
    plan_entries = tuple(wanted.to_json() for wanted in replacements)
    return replace(bench.detector, network=cut, plan=plan_entries), errors
