"""Stage 3: cut, and solve what is left. Leaves `pruned.safetensors`."""

from __future__ import annotations

from dataclasses import replace

from runtime_bench.errors import EdgeError
from runtime_bench.progress import track
from xprune.attribution.scores import Scores, read_scores
from xprune.layers.substitutes import replacement
from xprune.models.checkpoint import save_checkpoint
from xprune.models.detector import Detector
from xprune.pruning.plan import PrunePlan, read_plan
from xprune.recovery.refit import refit
from xprune.stages.attribute import SCORES_FILE
from xprune.stages.cutting import cut_network, layers_to_solve
from xprune.stages.plan import PLAN_FILE
from xprune.stages.workbench import Workbench

STAGE = "prune"
PRUNED_FILE = "pruned.safetensors"
INPUTS = (SCORES_FILE, PLAN_FILE)
# A refit holds its pictures' feature maps at once: at 640 px about 20 MB each.
REFIT_PICTURES = 256


def prune(bench: Workbench) -> None:
    """Cut the network by the plan and solve its weights, unless that is done."""
    run = bench.run
    if run.is_done(STAGE, inputs=INPUTS, outputs=(PRUNED_FILE,)):
        bench.say("The model is pruned already")
        return
    scores = read_scores(run.file(SCORES_FILE))
    made = read_plan(run.file(PLAN_FILE), scores.candidates)
    pruned, errors = prune_detector(bench, scores, made)
    save_checkpoint(
        run.file(PRUNED_FILE),
        pruned,
        {"criterion": made.criterion, "recover": run.config.recover, "errors": errors},
        imgsz=bench.size,
    )
    run.mark_done(STAGE, inputs=INPUTS)


def prune_detector(
    bench: Workbench, scores: Scores, made: PrunePlan
) -> tuple[Detector, dict[str, float]]:
    """Return the pruned detector, and for each solved layer the variance it misses.

    Raises:
        EdgeError: If the plan is empty or leaves nothing of the network's result.
    """
    if not made.choices:
        raise EdgeError("the plan removes no layer; add one to its 'choices', or remove it")
    candidates = {candidate.name: candidate for candidate in scores.candidates}
    chosen = [replacement(candidates[c.layer], c.substitute) for c in made.choices]
    cut, replacements = cut_network(bench, scores, chosen)
    names = [wanted.layer for wanted in replacements]
    layers = layers_to_solve(
        cut, names, scores, convolutions=bench.run.config.recover == "refit"
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
