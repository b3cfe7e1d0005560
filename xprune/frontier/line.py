"""Methods that are plain runs of our line, each with other options."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from runtime_bench.errors import EdgeError
from runtime_bench.manifest import read_manifest
from xprune.attribution.scores import read_scores
from xprune.config import RunConfig
from xprune.frontier.arms import Made, Method
from xprune.frontier.ground import Ground
from xprune.pipeline import run_until
from xprune.pruning.plan import PrunePlan, read_plan
from xprune.run_folder import RUN_FILE, RunFolder, open_run
from xprune.stages.attribute import SCORES_FILE
from xprune.stages.baseline import BASELINE_FOLDER
from xprune.stages.export import ARTIFACT_FOLDER
from xprune.stages.latency import LATENCY_FILE
from xprune.stages.plan import PLAN_FILE
from xprune.stages.rewrites import REWRITES_FILE

RUN_FOLDER = "run"
# What a run would make alike: each file says what it holds for, and is made anew if it differs.
ALIKE = (BASELINE_FOLDER, REWRITES_FILE, LATENCY_FILE)


def line_method(label: str, **options: Any) -> Method:
    """Return the method that runs our line with these options."""

    def build(ground: Ground, budget: float, folder: Path) -> list[Made]:
        run = run_line(ground, folder / RUN_FOLDER, speedup=1 / budget, **options)
        made = plan_of(run)
        artifact = run.file(ARTIFACT_FOLDER)
        manifest = read_manifest(artifact)
        return [
            Made(
                artifact=artifact,
                imgsz=manifest.input.size,
                removed=[
                    {"layer": c.layer, "substitute": c.substitute, "score": c.score}
                    for c in made.choices
                ],
                plan=made.pairs,
                more={"planned_latency_ratio": _planned(made)},
            )
        ]

    return Method(label, build, facts=options)


def run_line(
    ground: Ground, folder: Path, *, last: str = "export", **options: Any
) -> RunFolder:
    """Run our line in `folder` up to the stage `last`, or go on with it."""
    given = {
        **ground.settings.options,
        "imgsz": ground.bench.size,
        **_recovery(ground),
        **options,
    }
    if folder.exists() and not (folder / RUN_FILE).exists():
        shutil.rmtree(folder)  # killed before it was a run
    run = open_run(folder, given, stage=last)
    if run.stage is None:
        _ = ground.base
        run.settle("attribute")
        for name in ALIKE:
            _copy(ground.bench.run.file(name), run.file(name))
    run_until(run, last, ground.say)
    if not ground.bench.run.file(LATENCY_FILE).exists():
        _copy(run.file(LATENCY_FILE), ground.bench.run.file(LATENCY_FILE))
    return run


def plan_of(run: RunFolder) -> PrunePlan:
    """Return the plan of a run."""
    scores = read_scores(run.file(SCORES_FILE))
    return read_plan(run.file(PLAN_FILE), scores.candidates)


def _recovery(ground: Ground) -> Mapping[str, Any]:
    wanted = {
        "recover": ground.settings.recover,
        "recover_minutes": ground.settings.recover_minutes,
    }
    known = {field.name for field in fields(RunConfig)}
    return {name: value for name, value in wanted.items() if name in known}


def _planned(made: PrunePlan) -> float | None:
    return None if made.measured_speedup is None else 1 / made.measured_speedup


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder that is there; what is half copied is not used."""
    if not source.exists() or target.exists():
        return
    try:
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    except OSError as error:
        raise EdgeError(
            f"cannot write '{target}': {error.strerror}; free some space"
        ) from error
