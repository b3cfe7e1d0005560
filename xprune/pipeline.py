"""The stages in order. Each leaves files; a run that was stopped goes on where it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from runtime_bench.errors import EdgeError
from xprune.config import STAGES as NAMES
from xprune.run_folder import RunFolder
from xprune.stages.attribute import attribute
from xprune.stages.export import export
from xprune.stages.measure import measure
from xprune.stages.plan import plan
from xprune.stages.prune import prune
from xprune.stages.recover import recover
from xprune.stages.workbench import Workbench
from xprune.variants.choose import choose_variant

STAGES: Mapping[str, Callable[[Workbench], None]] = {
    "attribute": attribute,  # scores.json: what each layer is worth
    "plan": plan,  # plan.json: what goes, and how fast that is
    "prune": prune,  # pruned.safetensors: cut, and solved again
    "recover": recover,  # recovered.safetensors, if training was asked for
    "export": export,  # artifact/: checked ONNX and its manifest
    "measure": measure,  # result.json, summary.json, artifact/report.html
}
# Which size and precision are best shows once layers are replaced.
CHOSEN_BY = "prune"


def run_until(run: RunFolder, last: str, say: Callable[[str], None]) -> None:
    """Run the stages up to `last`; those that are done already are passed over.

    A new run is checked first, as far as that is quick; if it fails, nothing is written. Input
    size and precision are chosen before the first stage where they are open.
    """
    bench = Workbench(run, say)
    if run.stage is None:
        bench.check()
        say(f"Beginning {run.path}")
    else:
        say(f"Continuing {run.path}")
    is_open = run.config.is_open
    run.settle(max(last, CHOSEN_BY, key=NAMES.index) if is_open else last)
    try:
        if is_open:
            bench = choose_variant(bench, run_stages)
        run_stages(bench, last)
    except EdgeError:
        # Else a request that could not be met would bind the folder for ever.
        with contextlib.suppress(EdgeError):
            run.forget_unmade()
        raise


def run_stages(bench: Workbench, last: str) -> None:
    """Run the stages of a workbench up to `last`, its size and precision settled."""
    for name, stage in STAGES.items():
        stage(bench)
        if name == last:
            return
