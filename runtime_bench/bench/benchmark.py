"""Measure one artifact: speed, memory and accuracy, all from the file that will be shipped."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runtime_bench.accuracy.prediction_log import PredictionLog
from runtime_bench.accuracy.predictions import Scored, detect_all, score
from runtime_bench.artifact.detector import Detector
from runtime_bench.artifact.manifest import MODEL_FILE
from runtime_bench.artifact.opened import Opened, open_artifact
from runtime_bench.bench.doubts import doubts_of
from runtime_bench.bench.result import (
    BenchResult,
    BenchSettings,
    DataFacts,
    artifact_facts,
)
from runtime_bench.data.dataset import Dataset, match_model
from runtime_bench.machine.description import describe_machine
from runtime_bench.machine.readings import Reading
from runtime_bench.machine.watch import Watch, energy_j
from runtime_bench.progress import time_bar
from runtime_bench.runtime.engine_cache import engine_cache
from runtime_bench.runtime.feeds import Feed
from runtime_bench.runtime.profile import NodeTimes, node_times_apart
from runtime_bench.runtime.runnable import Runnable
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.fresh_start import FreshStart, start_fresh
from runtime_bench.timing.inputs import MOST_PICTURES, choose_inputs, in_turn, inputs_of
from runtime_bench.timing.latency import LatencySamples, measure_latency, time_once
from runtime_bench.timing.overhead import harness_overhead_s
from runtime_bench.timing.throughput import Throughput, measure_throughput

__all__ = ["BenchSettings", "run_benchmark"]

# Which provider ran what does not change from run to run; how long a node takes does.
PROFILED_RUNS = 5
RUNS_OF_A_PROFILE = 50


def run_benchmark(
    artifact: Path,
    *,
    dataset: Dataset | None = None,
    pictures: Sequence[Path] = (),
    settings: BenchSettings | None = None,
    predictions: Path | None = None,
    progress: bool = True,
) -> BenchResult:
    """Measure an artifact.

    Args:
        artifact: See `open_artifact`.
        dataset: What accuracy is taken from, if it has labels.
        pictures: What the timed runs see; by default the data set's, else see `choose_inputs`.
        settings: How to measure.
        predictions: A file that keeps what is found; a benchmark that was stopped goes on.
        progress: Show how far it is.

    Raises:
        EdgeError: If the artifact is missing, damaged, or does not fit its manifest, a
            picture cannot be read, or the data has a class that the artifact lacks.
    """
    settings = settings or BenchSettings()
    with engine_cache(settings.session) as running:
        opened = open_artifact(artifact, running, shapes=dict(settings.shapes))
        return _measure(
            opened, running, settings, dataset, pictures, predictions, progress=progress
        )


def _measure(
    opened: Opened,
    running: SessionSettings,
    settings: BenchSettings,
    dataset: Dataset | None,
    pictures: Sequence[Path],
    predictions: Path | None,
    *,
    progress: bool,
) -> BenchResult:
    machine, session = describe_machine(), opened.session
    matched = None if dataset is None else match_model(dataset, opened.manifest)
    pictures = pictures or ([] if matched is None else [one.path for one in matched.pictures])
    seen = choose_inputs([opened], pictures)
    images = inputs_of(opened, seen.pictures)
    first_run_s = time_once(lambda: session.run(images[0]))
    latency, readings = _time_model(session, images, settings, progress=progress)
    nodes = _profile(opened.model, images, settings, running)
    started = _start(opened, running)
    return BenchResult(
        artifact=artifact_facts(opened),
        settings=settings,
        provider=session.provider,
        threads=session.threads,
        machine=machine,
        data=None if matched is None else _data_facts(matched),
        latency_input=seen.kind,
        latency_pictures=seen.sha256,
        latency=latency,
        end_to_end=_time_end_to_end(opened, pictures, settings),
        accuracy=_score(opened, matched, predictions, progress=progress),
        load_time_s=session.load_time_s,
        build_time_s=session.build_time_s,
        first_run_s=first_run_s,
        peak_memory_bytes=started.peak_bytes,
        providers=nodes.by_provider,
        profile=nodes if settings.profile else None,
        fresh_start=started,
        fresh_without_arena=_start(opened, replace(running, arena=False)),
        overhead_s=harness_overhead_s(threads=session.threads),
        throughput=_time_streams(session, images, settings),
        energy_j=_energy_of_one(readings, latency),
        readings=readings,
        doubts=doubts_of(latency, readings, machine=machine, threads=session.threads),
    )


def _time_model(
    session: Runnable, images: Sequence[Feed], settings: BenchSettings, *, progress: bool
) -> tuple[LatencySamples, tuple[Reading, ...]]:
    """Time the model alone, and watch the machine from the end of the warm-up."""
    watch = Watch()
    with time_bar("Timing", settings.min_time_s, quiet=not progress) as show:

        def between(total_s: float) -> None:
            watch.glance()
            show(total_s, "")

        samples = measure_latency(
            in_turn(session, images),
            warmup_runs=settings.warmup_runs,
            most_warmup_s=settings.most_warmup_s,
            min_runs=settings.min_runs,
            min_time_s=settings.min_time_s,
            before=watch.look,
            between=between,
        )
    watch.look()
    return samples, tuple(watch.readings)


def _profile(
    model: Path, images: Sequence[Feed], settings: BenchSettings, running: SessionSettings
) -> NodeTimes:
    runs = RUNS_OF_A_PROFILE if settings.profile else PROFILED_RUNS
    return node_times_apart(model, images, running, runs=runs)


def _start(opened: Opened, settings: SessionSettings) -> FreshStart:
    return start_fresh(opened.model, shapes=opened.shapes, settings=settings)


def _energy_of_one(readings: Sequence[Reading], latency: LatencySamples) -> float | None:
    """Return the joules of the whole machine for each inference, as far as it has a meter."""
    whole_j = energy_j(readings)
    return None if whole_j is None else whole_j / len(latency.timed_s)


def _time_streams(
    session: Runnable, images: Sequence[Feed], settings: BenchSettings
) -> Throughput | None:
    if settings.streams is None:
        return None
    runs = [in_turn(session, images) for _ in range(settings.streams)]
    return measure_throughput(runs, time_s=settings.min_time_s)


def _time_end_to_end(
    opened: Opened, pictures: Sequence[Path], settings: BenchSettings
) -> LatencySamples | None:
    """Time from a picture file to its boxes; the count alone decides when it is enough."""
    if not pictures:
        return None
    manifest = opened.manifest
    detector = Detector(opened.session, manifest, manifest.display_score)
    endless = itertools.cycle(pictures[:MOST_PICTURES])
    return measure_latency(
        lambda: detector(next(endless)), warmup_runs=1, min_runs=settings.min_runs, min_time_s=0
    )


def _score(
    opened: Opened, dataset: Dataset | None, predictions: Path | None, *, progress: bool
) -> Scored | None:
    if dataset is None or not (dataset.labelled or predictions):
        return None
    manifest, run, pictures = opened.manifest, opened.session.run, dataset.pictures
    if predictions is None:
        found = detect_all(run, manifest, pictures, progress=progress)
    else:
        sha256 = manifest.files[MODEL_FILE].sha256
        with PredictionLog(
            predictions, names=manifest.names, sha256=sha256, source=dataset.source
        ) as log:
            found = detect_all(run, manifest, pictures, log=log, progress=progress)
    return score(dataset, found) if dataset.labelled else None


def _data_facts(dataset: Dataset) -> DataFacts:
    names = tuple(picture.name for picture in dataset.pictures)
    return DataFacts(dataset.source, dataset.labelled, names, dataset.skipped)
