"""The unpruned model through the same export: what every ratio compares with."""

from __future__ import annotations

from pathlib import Path

from exporters.bundle import build_artifact
from runtime_bench.artifact.manifest import Manifest, read_manifest
from runtime_bench.errors import EdgeError
from xprune.stages.workbench import Workbench

BASELINE_FOLDER = "unpruned"
BASELINE_MODEL = f"{BASELINE_FOLDER}/model.onnx"


def export_baseline(bench: Workbench) -> None:
    """Write `unpruned/`, unless just that is there already."""
    run = bench.run
    there = intact_manifest(run.file(BASELINE_FOLDER))
    # A plan may have been made before --raw was asked for: both must end alike.
    same_end = there is not None and (there.output.kind == "raw") == run.config.raw
    if there is not None and same_end and there.input.size == bench.base_size:
        return
    bench.say("Exporting the unpruned model")
    build_artifact(
        bench.decoded(bench.detector.network),
        folder=run.file(BASELINE_FOLDER),
        card=bench.card,
        size=bench.base_size,
        raw=run.config.raw,
        pictures=bench.probe_pictures(),
        stored=bench.probe_pictures(run.config.stored_pictures),
        provenance={"weights_sha256": bench.detector.weights_sha256, "pruned": False},
    )


def intact_manifest(artifact: Path) -> Manifest | None:
    """Return the manifest of an artifact if all of it is there, and as it was written."""
    try:
        return read_manifest(artifact)
    except EdgeError:
        return None
