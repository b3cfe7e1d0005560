"""The unpruned model through the same export: what every ratio compares with."""

from __future__ import annotations

from exporters.bundle import build_artifact
from xprune.stages.workbench import Workbench

STAGE = "export"  # it depends on the options that an export depends on, `raw` among them
BASELINE_FOLDER = "unpruned"
BASELINE_MODEL = f"{BASELINE_FOLDER}/model.onnx"


def export_baseline(bench: Workbench) -> None:
    """Write `unpruned/`, unless it is there already."""
    run = bench.run
    if run.file(BASELINE_MODEL).exists():
        return
    bench.say("Exporting the unpruned model")
    build_artifact(
        bench.decoded(bench.detector.network),
        folder=run.file(BASELINE_FOLDER),
        card=bench.card,
        size=bench.size,
        raw=run.config.raw,
        pictures=bench.probe_pictures(),
        provenance={"weights_sha256": bench.detector.weights_sha256, "pruned": False},
    )
