"""The folder of one variant: a run like any other, inside the run that chooses."""

from __future__ import annotations

import shutil
from dataclasses import replace

from xprune.config import RunConfig
from xprune.run_folder import STAGES_FILE, RunFolder
from xprune.stages.attribute import DATA_FILE, SCORES_FILE
from xprune.stages.latency import LATENCY_FILE
from xprune.stages.plan import PLAN_FILE
from xprune.stages.precision import PRECISION_FILE
from xprune.stages.prune import PRUNED_FILE
from xprune.stages.recover import RECOVERED_FILE
from xprune.stages.rewrites import REWRITES_FILE, adopt_rewrites
from xprune.stages.workbench import Workbench
from xprune.variants.variant import Variant

VARIANTS_FOLDER = "variants"
# Of the minutes of a recovery: what shows which variant gains most by it.
TRIAL_SHARE = 0.2
# What a run takes over from its variant; a file that says what is done comes last, and tells a
# recovery for a share of the time from a whole one.
TAKEN = (
    DATA_FILE,
    SCORES_FILE,
    PRECISION_FILE,
    REWRITES_FILE,
    LATENCY_FILE,
    PLAN_FILE,
    PRUNED_FILE,
    RECOVERED_FILE,
    STAGES_FILE,
)


def at_variant(bench: Workbench, variant: Variant, *, share: float = TRIAL_SHARE) -> Workbench:
    """Return a workbench of a variant: same detector and pictures, a folder of its own.

    If it trains at all, it is for a share of the time, to be compared with other variants.
    """
    folder = bench.run.file(f"{VARIANTS_FOLDER}/{variant.name}")
    config = _config(bench, variant)
    config = replace(config, recover_minutes=share * config.recover_minutes)
    other = Workbench(
        RunFolder(folder, config),
        lambda line: bench.say(f"  {variant.name}: {line}"),
    )
    vars(other).update(detector=bench.detector, sets=bench.sets)
    return other


def at_other_size(bench: Workbench, known: Workbench) -> None:
    """Let a variant use what was found for its precision at another size.

    How sensitive a layer is to rounding, and which rewrites are faster, hardly depends on the
    size of the input, and finding it out takes minutes.
    """
    recipe = known.run.file(PRECISION_FILE)
    if recipe.exists():
        bench.run.path.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(recipe, bench.run.file(PRECISION_FILE))
    adopt_rewrites(bench, known)


def settled(bench: Workbench, variant: Variant) -> Workbench:
    """Return a workbench of the same folder in which size and precision are settled."""
    other = Workbench(bench.run.settled(_config(bench, variant)), bench.say)
    vars(other).update(detector=bench.detector, sets=bench.sets)
    return other


def _config(bench: Workbench, variant: Variant) -> RunConfig:
    return replace(
        bench.run.config,
        imgsz=variant.size,
        base_imgsz=bench.base_size,
        precision=variant.precision,
    )


def take_over(bench: Workbench, variant: Variant) -> None:
    """Copy what was made for a variant into the run's own folder, to go on from."""
    source = bench.run.file(f"{VARIANTS_FOLDER}/{variant.name}")
    for name in TAKEN:
        if (source / name).exists():
            shutil.copyfile(source / name, bench.run.file(name))
