"""Methods that are plain runs of our line, each with other options."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from runtime_bench.artifact.manifest import read_manifest
from runtime_bench.files import atomic_folder
from xprune.attribution.criteria import ON_REQUEST
from xprune.attribution.scores import read_scores
from xprune.config import AUTO, PRECISIONS, options_until
from xprune.frontier.arms import Made, Method
from xprune.frontier.ground import Ground, copy_if_there
from xprune.models.files.checkpoint import read_checkpoint
from xprune.pipeline import run_until
from xprune.pruning.plan import PrunePlan, read_plan
from xprune.run_folder import RUN_FILE, RunFolder, open_run
from xprune.stages.attribute import DATA_FILE, SCORES_FILE
from xprune.stages.baseline import BASELINE_FOLDER
from xprune.stages.export import ARTIFACT_FOLDER
from xprune.stages.latency import LATENCY_FILE
from xprune.stages.plan import PLAN_FILE
from xprune.stages.precision import PRECISION_FILE
from xprune.stages.recover import RECOVERED_FILE
from xprune.stages.rewrites import REWRITES_FILE
from xprune.variants.folder import VARIANTS_FOLDER
from xprune.variants.variant import Variant

RUN_FOLDER = "run"
# Which rewrites are faster, and which layers bear 8 bits: minutes each.
FOUND_OUT = (REWRITES_FILE, PRECISION_FILE)


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
                precision=manifest.precision,
                removed=[
                    {"layer": c.layer, "substitute": c.substitute, "score": c.score}
                    for c in made.choices
                ],
                plan=made.pairs,
                recovered=_recovered(run),
                more={"planned_latency_ratio": _planned(made)},
            )
        ]

    return Method(label, build, facts=options)


def run_line(
    ground: Ground, folder: Path, *, last: str = "export", **options: Any
) -> RunFolder:
    """Run our line in `folder` up to the stage `last`, or go on with it."""
    settings = ground.settings
    given = {
        **settings.options,
        "imgsz": ground.bench.size,
        "base_imgsz": ground.bench.size,
        "recover": settings.recover,
        "recover_minutes": settings.recover_minutes,
        **options,
    }
    if folder.exists() and not (folder / RUN_FILE).exists():
        shutil.rmtree(folder)  # killed before it was a run
    run = open_run(folder, given, stage=last)
    if run.stage is None:
        _take_over(ground, run)
    run_until(run, last, ground.say)
    _hand_on(ground, run)
    return run


def plan_of(run: RunFolder) -> PrunePlan:
    """Return the plan of a run."""
    scores = read_scores(run.file(SCORES_FILE))
    return read_plan(run.file(PLAN_FILE), scores.candidates)


def _take_over(ground: Ground, run: RunFolder) -> None:
    """Begin a run with what others have made alike.

    Each file says what it holds for, so a run that differs makes it anew.
    """
    config = run.config
    run.settle("attribute")
    copy_if_there(ground.base, run.file(BASELINE_FOLDER))
    if config.is_open:
        for precision in PRECISIONS if config.precision == AUTO else (config.precision,):
            source = _known(ground, precision)
            target = run.file(f"{VARIANTS_FOLDER}/{_at_base(ground, precision).name}")
            for name in FOUND_OUT:
                copy_if_there(source / name, target / name)
        return
    known = ground.at_base(config.precision).run
    for name in (*FOUND_OUT, LATENCY_FILE):
        copy_if_there(known.file(name), run.file(name))
    scores = _scores_folder(ground, run)
    if scores is not None and scores.is_dir():
        for name in (DATA_FILE, SCORES_FILE):
            copy_if_there(scores / name, run.file(name))
        run.mark_done("attribute", inputs=())


def _hand_on(ground: Ground, run: RunFolder) -> None:
    """Keep what other runs would make alike."""
    config = run.config
    if config.is_open:
        for precision in PRECISIONS:
            source = run.file(f"{VARIANTS_FOLDER}/{_at_base(ground, precision).name}")
            for name in FOUND_OUT:
                copy_if_there(source / name, _known(ground, precision) / name)
    elif config.imgsz == ground.bench.size:
        known = _known(ground, config.precision)
        copy_if_there(run.file(LATENCY_FILE), known / LATENCY_FILE)
    scores = _scores_folder(ground, run)
    if scores is not None and not scores.exists():
        with atomic_folder(scores) as partial:
            for name in (DATA_FILE, SCORES_FILE):
                copy_if_there(run.file(name), partial / name)


def _known(ground: Ground, precision: str) -> Path:
    """Return the folder of what is known of a precision at the unpruned model's size."""
    folder = ground.bench.run.path
    return folder if precision == PRECISIONS[0] else folder / precision


def _at_base(ground: Ground, precision: str) -> Variant:
    return Variant(ground.bench.size, precision)


def _scores_folder(ground: Ground, run: RunFolder) -> Path | None:
    """Return where scores of runs like this one lie: one look at the gradients serves most.

    None where size is open, or a criterion wants a table of its own.
    """
    config = run.config
    if config.criterion in ON_REQUEST or AUTO in (config.imgsz, config.precision):
        return None
    options = config.to_json()
    facts = {n: options[n] for n in options_until("attribute") if n != "criterion"}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    return ground.bench.run.file(f"scores-{digest}")


def _recovered(run: RunFolder) -> dict[str, Any]:
    """Return what the recovery says of itself; nothing where there was no training."""
    path = run.file(RECOVERED_FILE)
    if not path.exists():
        return {}
    facts = read_checkpoint(path).extra.get("recovery", {})
    return dict(facts) if isinstance(facts, dict) else {}


def _planned(made: PrunePlan) -> float | None:
    return None if made.measured_speedup is None else 1 / made.measured_speedup
