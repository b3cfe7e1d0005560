"""Stage 5: the pruned network becomes a checked artifact. Leaves `artifact/`."""

from __future__ import annotations

from dataclasses import asdict

from exporters.bundle import build_artifact
from exporters.precision.lower import FLOAT32
from xprune.attribution.scores import read_scores
from xprune.config import TRAININGS
from xprune.models.detector import Detector
from xprune.pruning.plan import PrunePlan, read_plan
from xprune.stages.attribute import SCORES_FILE
from xprune.stages.baseline import export_baseline, intact_manifest
from xprune.stages.plan import PLAN_FILE
from xprune.stages.precision import PRECISION_FILE
from xprune.stages.prune import PRUNED_FILE
from xprune.stages.recover import RECOVERED_FILE, load_made, recovery_facts
from xprune.stages.rewrites import (
    REWRITES_FILE,
    check_precision,
    rewrite_trials,
    run_lowering,
)
from xprune.stages.workbench import Workbench

STAGE = "export"
ARTIFACT_FOLDER = "artifact"
MODEL = f"{ARTIFACT_FOLDER}/model.onnx"
INPUTS = (SCORES_FILE, PLAN_FILE, PRUNED_FILE, REWRITES_FILE)


def _inputs(bench: Workbench) -> tuple[str, ...]:
    config = bench.run.config
    trained = (RECOVERED_FILE,) if config.recover in TRAININGS else ()
    in_float = config.precision == FLOAT32
    return (*INPUTS, *trained, *(() if in_float else (PRECISION_FILE,)))


def export(bench: Workbench) -> None:
    """Write the artifact and, to compare with, the unpruned one, unless both are there."""
    run = bench.run
    if run.is_done(STAGE, inputs=_inputs(bench), outputs=(MODEL,)):
        if intact_manifest(run.file(ARTIFACT_FOLDER)):
            export_baseline(bench)
            bench.say("The artifact is exported already")
            return
        bench.say("The artifact was changed since; it is exported again")
    check_precision(bench)
    scores = read_scores(run.file(SCORES_FILE))
    made = read_plan(run.file(PLAN_FILE), scores.candidates)
    pruned = load_pruned(bench)
    export_baseline(bench)
    kept = [trial for trial in rewrite_trials(bench) if trial.kept]
    bench.say(f"Exporting the pruned model{_with_pictures(run.config.stored_pictures)}")
    build_artifact(
        bench.decoded(pruned.network),
        folder=run.file(ARTIFACT_FOLDER),
        card=bench.card,
        size=bench.size,
        raw=run.config.raw,
        pictures=bench.probe_pictures(),
        stored=bench.probe_pictures(run.config.stored_pictures),
        rewrites=[trial.name for trial in kept],
        provenance={
            **_provenance(bench, made, list(scores.pictures)),
            "rewrites": {trial.name: trial.ratio for trial in kept},
        },
        lowering=run_lowering(bench, full=True),
    )
    run.mark_done(STAGE, inputs=_inputs(bench))


def _with_pictures(count: int) -> str:
    """Say what is in the artifact for whoever gets it to see."""
    if not count:
        return ""
    return f", with {count} calibration pictures (--stored-pictures 0 leaves them out)"


def load_pruned(bench: Workbench) -> Detector:
    """Return the detector to export from its file alone: pruned, and trained if that was asked.

    Raises:
        EdgeError: If the file is of a model with other classes or another stride.
    """
    trained = bench.run.config.recover in TRAININGS
    return load_made(bench, RECOVERED_FILE if trained else PRUNED_FILE)


def _provenance(bench: Workbench, made: PrunePlan, pictures: list[str]) -> dict[str, object]:
    """Return how the artifact came about; no path of this machine is in it."""
    config = bench.run.config
    return {
        "pruned": True,
        "weights_sha256": bench.detector.weights_sha256,
        "criterion": made.criterion,
        "asked": {
            name: value for name, value in asdict(made.asked).items() if value is not None
        },
        "recover": config.recover,
        **recovery_facts(bench),
        "seed": config.seed,
        "calibration_pictures": pictures,
        "removed": [
            {"layer": choice.layer, "substitute": choice.substitute, "score": choice.score}
            for choice in made.choices
        ],
    }
