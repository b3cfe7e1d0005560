"""Measure one artifact: speed, memory and accuracy, all from the file that will be shipped."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from runtime_bench.accuracy.coco import Accuracy, average_precision
from runtime_bench.accuracy.predictions import detect_all
from runtime_bench.artifact.detector import Detector, check_session
from runtime_bench.artifact.manifest import Manifest, model_path, read_manifest
from runtime_bench.bench.result import BenchResult, BenchSettings, DataFacts, artifact_facts
from runtime_bench.data.dataset import Dataset, match_classes
from runtime_bench.machine.description import describe_machine
from runtime_bench.runtime.profile import node_times
from runtime_bench.runtime.session import Session, open_session
from runtime_bench.timing.inputs import MOST_PICTURES, Images, on_each, timed_inputs
from runtime_bench.timing.latency import LatencySamples, measure_latency, time_once
from runtime_bench.timing.memory import peak_memory

__all__ = ["BenchSettings", "run_benchmark"]

# Which provider ran what does not change from run to run.
PROFILED_RUNS = 5


def run_benchmark(
    artifact: Path,
    *,
    dataset: Dataset | None = None,
    pictures: Sequence[Path] = (),
    settings: BenchSettings | None = None,
    progress: bool = True,
) -> BenchResult:
    """Measure an artifact.

    Args:
        artifact: Its folder, its `model.onnx`, or its `manifest.json`.
        dataset: What accuracy is taken from, if it has labels.
        pictures: What the timed runs see; by default the first ones of the data set, and
            without one a made-up picture, which the result then says.
        settings: How to measure.
        progress: Show how far it is.

    Raises:
        EdgeError: If the artifact is missing, damaged, or does not fit its manifest, a
            picture cannot be read, or the data has a class that the artifact lacks.
    """
    settings = settings or BenchSettings()
    manifest = read_manifest(artifact)
    matched = None if dataset is None else match_classes(dataset, manifest.names)
    if matched is not None and not pictures:
        pictures = [picture.path for picture in matched.pictures]
    machine = describe_machine()
    session = open_session(model_path(artifact), settings.session)
    check_session(session, manifest)
    images = timed_inputs(pictures, manifest.input)
    first_run_s = time_once(lambda: session.run(images[0]))
    return BenchResult(
        artifact=artifact_facts(manifest),
        settings=settings,
        provider=session.provider,
        threads=session.threads,
        machine=machine,
        data=None if matched is None else _data_facts(matched),
        latency_input="pictures" if pictures else "grey and noise",
        latency=_time_model(session, images, settings),
        end_to_end=_time_end_to_end(
            Detector(session, manifest, manifest.display_score), pictures, settings
        ),
        accuracy=_score(session, manifest, matched, progress=progress),
        load_time_s=session.load_time_s,
        first_run_s=first_run_s,
        peak_memory_bytes=peak_memory(
            model_path(artifact),
            size=manifest.input.size,
            threads=session.threads,
            provider=settings.provider,
            provider_options=settings.provider_options,
        ),
        providers=node_times(
            model_path(artifact), images, settings.session, runs=PROFILED_RUNS
        ).by_provider,
    )


def _time_model(session: Session, images: Images, settings: BenchSettings) -> LatencySamples:
    return measure_latency(
        on_each(session.run, images),
        warmup_runs=settings.warmup_runs,
        min_runs=settings.min_runs,
        min_time_s=settings.min_time_s,
    )


def _time_end_to_end(
    detector: Detector, pictures: Sequence[Path], settings: BenchSettings
) -> LatencySamples | None:
    """Time from a picture file to its boxes; the count alone decides when it is enough."""
    if not pictures:
        return None
    in_turn = itertools.cycle(pictures[:MOST_PICTURES])
    return measure_latency(
        lambda: detector(next(in_turn)), warmup_runs=1, min_runs=settings.min_runs, min_time_s=0
    )


def _score(
    session: Session, manifest: Manifest, dataset: Dataset | None, *, progress: bool
) -> Accuracy | None:
    if dataset is None or not dataset.labelled:
        return None
    found = detect_all(session.run, manifest, dataset.pictures, progress=progress)
    return average_precision(dataset.pictures, found, manifest.names)


def _data_facts(dataset: Dataset) -> DataFacts:
    names = tuple(picture.name for picture in dataset.pictures)
    return DataFacts(dataset.source, dataset.labelled, names, dataset.skipped)
