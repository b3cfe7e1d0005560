"""Stage 3: cut, and solve what is left. Leaves `pruned.safetensors`."""

from __future__ import annotations

from xprune.attribution.scores import read_scores
from xprune.models.files.checkpoint import save_checkpoint
from xprune.pruning.plan import read_plan
from xprune.stages.attribute import SCORES_FILE
from xprune.stages.plan import PLAN_FILE
from xprune.stages.solving import prune_detector
from xprune.stages.workbench import Workbench

STAGE = "prune"
PRUNED_FILE = "pruned.safetensors"
INPUTS = (SCORES_FILE, PLAN_FILE)


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
