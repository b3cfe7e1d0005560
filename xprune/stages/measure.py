"""Stage 6: what did it bring? Leaves `result.json`, `summary.json` and the report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from functools import partial

import numpy as np

from exporters.metadata import package_version
from runtime_bench.accuracy.predictions import Scored
from runtime_bench.accuracy.top_k import ClassAccuracy
from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.detector import load
from runtime_bench.artifact.manifest import file_entry, read_manifest, write_manifest
from runtime_bench.artifact.preprocess import read_picture
from runtime_bench.bench.benchmark import BenchSettings, run_benchmark
from runtime_bench.bench.result import BenchResult
from runtime_bench.data.dataset import Picture
from runtime_bench.files import read_json, write_json
from runtime_bench.timing.compare import Comparison
from runtime_bench.timing.openings import compare_opened
from runtime_bench.timing.statistics import statistics_of
from xprune.attribution.scores import read_scores
from xprune.config import BUILTIN, RunConfig
from xprune.explain.pictures import Example
from xprune.explain.report import write_report
from xprune.models.detector import Detector
from xprune.pruning.plan import PrunePlan, read_plan
from xprune.run_folder import VARIANTS_FILE
from xprune.stages.attribute import DATA_FILE, SCORES_FILE
from xprune.stages.baseline import BASELINE_FOLDER, BASELINE_MODEL
from xprune.stages.export import ARTIFACT_FOLDER, MODEL, load_pruned
from xprune.stages.plan import LATENCY_FILE, PLAN_FILE
from xprune.stages.recover import recovery_facts
from xprune.stages.rewrites import REWRITES_FILE, kept_rewrites, shipped_graph
from xprune.stages.workbench import Workbench

STAGE = "measure"
RESULT_FILE = "result.json"
SUMMARY_FILE = "summary.json"
REPORT_FILE = "report.html"
INPUTS = (SCORES_FILE, DATA_FILE, PLAN_FILE, MODEL, BASELINE_MODEL, REWRITES_FILE)
OUTPUTS = (RESULT_FILE, SUMMARY_FILE, f"{ARTIFACT_FOLDER}/{REPORT_FILE}")
EXAMPLES = 4
PACKAGES = (
    "xprune-edge",
    "torch",
    "torchvision",
    "ultralytics",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "numpy",
)


def measure(bench: Workbench) -> None:
    """Measure both artifacts, compare them in turn, and write what came out."""
    run = bench.run
    if run.is_done(STAGE, inputs=INPUTS, outputs=OUTPUTS):
        bench.say("The result is measured already")
        return
    bench.say("Measuring both models")
    settings = BenchSettings(threads=run.config.threads, min_time_s=1.0)
    before, after = (
        run_benchmark(run.file(folder), dataset=bench.sets.test, settings=settings)
        for folder in (BASELINE_FOLDER, ARTIFACT_FOLDER)
    )
    comparison = _compare(bench)
    scores = read_scores(run.file(SCORES_FILE))
    made = read_plan(run.file(PLAN_FILE), scores.candidates)
    summary = _summary(bench, before, after, comparison, made)
    summary |= _of_rewrites(bench) | recovery_facts(bench)
    write_json(run.file(RESULT_FILE), after.to_json())
    _report(bench, summary, before, after, comparison)
    write_json(run.file(SUMMARY_FILE), summary)
    run.mark_done(STAGE, inputs=INPUTS)


def _compare(bench: Workbench) -> Comparison:
    """Time the unpruned and the pruned artifact in turn, on the same real pictures."""
    bench.say("Timing both models in turn")
    return compare_opened(
        partial(bench.base_runner, bench.run.file(BASELINE_MODEL)),
        partial(bench.runner, bench.run.file(MODEL)),
        min_rounds=300,
        min_time_s=4.0,
        max_time_s=30.0,
        seed=bench.run.config.seed,
    )


def _of_rewrites(bench: Workbench) -> dict[str, object]:
    """Time what the rewrites alone bring: the unpruned model without and with them."""
    kept = kept_rewrites(bench)
    ratio, interval = 1.0, (1.0, 1.0)
    if kept:
        bench.say("Timing the unpruned model with and without rewrites in turn")
        comparison = compare_opened(
            partial(bench.runner, shipped_graph(bench, bench.unpruned_graph)),
            partial(bench.runner, shipped_graph(bench, bench.unpruned_graph, kept)),
            min_rounds=150,
            min_time_s=2.0,
            max_time_s=15.0,
            seed=bench.run.config.seed,
        )
        ratio, interval = comparison.ratio, comparison.interval
    return {
        "rewrites": list(kept),
        "speedup_rewrites": ratio,
        "speedup_rewrites_interval": list(interval),
    }


def _summary(
    bench: Workbench,
    before: BenchResult,
    after: BenchResult,
    comparison: Comparison,
    made: PrunePlan,
) -> dict[str, object]:
    config, detector = bench.run.config, bench.detector
    data = read_json(bench.run.file(DATA_FILE))
    assert isinstance(data, dict)
    return {
        "format": "xprune-edge summary",
        "version": 1,
        "task": detector.task,
        "model": {
            "name": detector.name,
            "weights_sha256": detector.weights_sha256,
            "licence": detector.licence,
            "imgsz": list(bench.size),
            "base_imgsz": list(bench.base_size),
        },
        "before": _side(bench, detector, before, comparison.first_s, size=bench.base_size),
        "after": _side(bench, load_pruned(bench), after, comparison.second_s, size=bench.size),
        "speedup": comparison.ratio,
        "speedup_interval": list(comparison.interval),
        "removed": [asdict(choice) for choice in made.choices],
        "asked": {k: v for k, v in asdict(made.asked).items() if v is not None},
        **_planned_for(made),
        **_variants(bench),
        "criterion": made.criterion,
        "recover": config.recover,
        "precision": config.precision,
        "data": {
            "test": data["test"]["pictures"],
            "calibration": data["calibration"]["pictures"],
            "skipped": data["skipped"],
        },
        "machine": after.machine,
        "versions": _versions(),
        "seed": config.seed,
        "command": command_of(bench.run.asked),
    }


def _planned_for(made: PrunePlan) -> dict[str, object]:
    """Return which other machine the plan is for, and what it promises there, if it is."""
    if made.machine is None:
        return {}
    promised = {"name": made.machine, "predicted_speedup": made.predicted_speedup}
    return {"planned_for": promised}


def _variants(bench: Workbench) -> dict[str, object]:
    """Return the sizes and precisions that were looked at, where a person left them open."""
    if not bench.run.asked.is_open:
        return {}
    document = _object(read_json(bench.run.file(VARIANTS_FILE)))
    return {"variants": document["variants"], "variant": document["chosen"]}


def _side(
    bench: Workbench,
    detector: Detector,
    result: BenchResult,
    times_s: tuple[float, ...],
    *,
    size: tuple[int, int],
) -> dict[str, object]:
    network = detector.network
    assert result.accuracy is not None, "test pictures are labelled"
    return {
        **_figures(result.accuracy),
        "latency_s": asdict(statistics_of(times_s)),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "macs": bench.macs(network, size),
        "size_bytes": result.artifact.size_bytes,
        "peak_memory_bytes": result.peak_memory_bytes,
        "load_time_s": result.load_time_s,
    }


def _figures(accuracy: Scored) -> dict[str, float]:
    if isinstance(accuracy, ClassAccuracy):
        return {"top1": accuracy.top1, "top5": accuracy.top5}
    return {"ap": accuracy.ap, "ap50": accuracy.ap50}


def _report(
    bench: Workbench,
    summary: Mapping[str, object],
    before: BenchResult,
    after: BenchResult,
    comparison: Comparison,
) -> None:
    """Write the report into the artifact and note its checksum in the manifest."""
    run = bench.run
    folder = run.file(ARTIFACT_FOLDER)
    table = run.file(LATENCY_FILE)
    documents = {name: read_json(run.file(name)) for name in (SCORES_FILE, PLAN_FILE)}
    manifest = read_manifest(folder)
    listed = {name: entry for name, entry in manifest.files.items() if name != REPORT_FILE}
    # Not listed while it is replaced, so that the artifact is whole at every moment.
    write_manifest(folder, replace(manifest, files=listed))
    write_report(
        folder / REPORT_FILE,
        summary=summary,
        scores=_object(documents[SCORES_FILE]),
        plan=_object(documents[PLAN_FILE]),
        before={**before.to_json(), "latency_samples_s": {"timed": list(comparison.first_s)}},
        after={**after.to_json(), "latency_samples_s": {"timed": list(comparison.second_s)}},
        examples=_examples(bench),
        names=bench.detector.names,
        latency=_object(read_json(table)) if table.exists() else None,
        min_score=run.config.conf,
    )
    listed[REPORT_FILE] = file_entry(folder / REPORT_FILE)
    write_manifest(folder, replace(manifest, files=listed))


def _examples(bench: Workbench) -> list[Example]:
    """Return test pictures with a few objects, with what both models find on them."""
    pictures = [p for p in bench.sets.test.pictures if 2 <= len(p.boxes) <= 12]
    chosen: list[Picture] = (pictures or list(bench.sets.test.pictures))[:EXAMPLES]
    detectors = [
        load(bench.run.file(folder), threads=bench.run.config.threads)
        for folder in (BASELINE_FOLDER, ARTIFACT_FOLDER)
    ]
    examples = []
    for picture in chosen:
        pixels = read_picture(picture.path)
        before, after = (detector(pixels) for detector in detectors)
        truth = Detections(
            picture.boxes, np.ones(len(picture.labels), dtype=np.float32), picture.labels
        )
        examples.append(Example(picture.name, pixels, before, after, truth))
    return examples


def command_of(config: RunConfig) -> str:
    """Return the command that makes this run, options at their defaults left out."""
    parts = ["xprune-edge", "prune-export"]
    for field in fields(RunConfig):
        value = getattr(config, field.name)
        implied = field.name == "data" and (config.model, value) == (BUILTIN, BUILTIN)
        if value == field.default or implied:
            continue
        parts.append("--" + field.name.replace("_", "-"))
        if value is not True:
            parts.append("x".join(map(str, value)) if isinstance(value, tuple) else str(value))
    return shlex.join(parts)


def _versions() -> dict[str, str]:
    return {name: package_version(name) for name in PACKAGES}


def _object(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value
