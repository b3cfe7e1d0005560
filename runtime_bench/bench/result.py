"""What a benchmark found: raw samples, and what derives from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from runtime_bench.accuracy.predictions import Scored
from runtime_bench.artifact.manifest import MODEL_FILE, file_entry
from runtime_bench.artifact.opened import Opened
from runtime_bench.bench.doubts import Doubt
from runtime_bench.machine.readings import Reading
from runtime_bench.runtime.profile import NodeTimes, ProviderShare
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.fresh_start import FreshStart
from runtime_bench.timing.inputs import LatencyInput
from runtime_bench.timing.latency import MOST_WARMUP_S, LatencySamples
from runtime_bench.timing.throughput import Throughput

FORMAT = "xprune-edge result"
VERSION = 1
# Of a model that says nothing of itself.
UNKNOWN_OUTPUT = "unknown"


@dataclass(frozen=True)
class BenchSettings:
    """How to measure.

    Attributes:
        threads: Threads inside one operation; None for all that this process may use.
        warmup_runs: The least number of runs made first, whose times do not count.
        most_warmup_s: For as long the warm-up goes on until times are stable.
        min_runs: The least number of timed runs.
        min_time_s: The least sum of timed seconds.
        provider: The execution provider by our own short name.
        provider_options: Its options as pairs.
        spinning: Whether idle threads wait actively for the next operation.
        shapes: Of inputs that a model does not fix, by name, as pairs.
        profile: Whether the time of every node is kept.
        streams: How many ask at a time where throughput is measured; None for not at all.
    """

    threads: int | None = None
    warmup_runs: int = 5
    most_warmup_s: float = MOST_WARMUP_S
    min_runs: int = 50
    min_time_s: float = 3.0
    provider: str = "cpu"
    provider_options: tuple[tuple[str, str], ...] = ()
    spinning: bool = True
    profile: bool = False
    streams: int | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def session(self) -> SessionSettings:
        """How onnxruntime is to run."""
        return SessionSettings(
            provider=self.provider,
            provider_options=self.provider_options,
            threads=self.threads,
            spinning=self.spinning,
        )


@dataclass(frozen=True)
class ArtifactFacts:
    """Which model file was measured, by checksum, and its input (height, width) in pixels."""

    model_name: str
    sha256: str
    size_bytes: int
    input_size: tuple[int, int]
    output: str


def artifact_facts(opened: Opened) -> ArtifactFacts:
    """Return what a result says of a model that was opened."""
    known = opened.known
    if known is None:
        # Of what is no picture, the last two sides stand for its size.
        sides = (1, 1, *next(iter(opened.shapes.values()), ()))
        file = file_entry(opened.model)
        return ArtifactFacts(
            model_name=opened.model.stem,
            sha256=file.sha256,
            size_bytes=file.size_bytes,
            input_size=(max(1, sides[-2]), max(1, sides[-1])),
            output=UNKNOWN_OUTPUT,
        )
    model = known.files[MODEL_FILE]
    return ArtifactFacts(
        model_name=known.model_name,
        sha256=model.sha256,
        size_bytes=model.size_bytes,
        input_size=known.input.size,
        output=known.output.kind,
    )


@dataclass(frozen=True)
class DataFacts:
    """Which pictures were used, by the names that the data set gives them."""

    source: str
    labelled: bool
    pictures: tuple[str, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class BenchResult:
    """One artifact, measured on one machine.

    Attributes:
        provider: The execution provider that really ran, by onnxruntime's name.
        threads: Threads inside one operation, as they really were.
        latency_input: What the timed runs saw: real pictures, or a made-up one.
        accuracy: None where the data has no labels.
        latency: Times of the model alone, the input in memory.
        end_to_end: Times from the picture file to its boxes; None without pictures.
        load_time_s: From the file to a session that can run.
        first_run_s: The first run of all, which is slower.
        peak_memory_bytes: Of a process that loads and runs the model; None if unknown.
        providers: What each execution provider ran, by onnxruntime's name; a provider leaves to
            the CPU what it cannot run. This and what follows is None, or empty, in results of
            an earlier version.
        fresh_start: What a process of its own took to load and run the model.
        fresh_without_arena: The same where onnxruntime gives back what it allocated.
        overhead_s: What the harness adds to each time, taken with a model that does nothing.
        energy_j: Joules of the whole machine for each inference; None without a meter.
        profile: The time of every node; None where it was not asked for.
        throughput: Of several streams; None where it was not asked for.
        readings: The state of the machine before, during and after the timed runs.
        doubts: Why the figures may not hold.
        build_time_s: To build what a file is run by, where the provider builds something.
        latency_pictures: SHA-256 of what the timed runs saw, if it came with the artifact.
    """

    artifact: ArtifactFacts
    settings: BenchSettings
    provider: str
    threads: int
    machine: dict[str, object]
    data: DataFacts | None
    latency_input: LatencyInput
    accuracy: Scored | None
    latency: LatencySamples
    end_to_end: LatencySamples | None
    load_time_s: float
    first_run_s: float
    peak_memory_bytes: int | None
    providers: Mapping[str, ProviderShare] | None = None
    fresh_start: FreshStart | None = None
    fresh_without_arena: FreshStart | None = None
    overhead_s: float | None = None
    energy_j: float | None = None
    profile: NodeTimes | None = None
    throughput: Throughput | None = None
    readings: tuple[Reading, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    latency_pictures: tuple[str, ...] = ()
    build_time_s: float | None = None

    def to_json(self) -> dict[str, object]:
        """Return the content of a result file; statistics are there for people to read."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "artifact": {**asdict(self.artifact), "input_size": list(self.artifact.input_size)},
            "settings": _settings_to_json(self.settings),
            "provider": self.provider,
            **_providers_to_json(self.providers),
            "threads": self.threads,
            "machine": self.machine,
            "data": None if self.data is None else _data_to_json(self.data),
            "latency_input": self.latency_input,
            "latency_pictures": list(self.latency_pictures),
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "latency_s": asdict(self.latency.statistics),
            "latency_samples_s": _samples_to_json(self.latency),
            "end_to_end_s": self.end_to_end and asdict(self.end_to_end.statistics),
            "end_to_end_samples_s": self.end_to_end and _samples_to_json(self.end_to_end),
            "load_time_s": self.load_time_s,
            "build_time_s": self.build_time_s,
            "first_run_s": self.first_run_s,
            "peak_memory_bytes": self.peak_memory_bytes,
            "fresh_start": self.fresh_start and asdict(self.fresh_start),
            "fresh_without_arena": (
                self.fresh_without_arena and asdict(self.fresh_without_arena)
            ),
            "overhead_s": self.overhead_s,
            "energy_j": self.energy_j,
            "profile": self.profile and _profile_to_json(self.profile),
            "throughput": self.throughput and asdict(self.throughput),
            "readings": [_reading_to_json(reading) for reading in self.readings],
            "doubts": [asdict(doubt) for doubt in self.doubts],
        }


def _settings_to_json(settings: BenchSettings) -> dict[str, object]:
    content = asdict(settings)
    given = {
        "provider_options": dict(settings.provider_options),
        "shapes": {name: list(shape) for name, shape in settings.shapes},
    }
    for name, value in given.items():
        del content[name]
        if value:
            content[name] = value
    return content


def _providers_to_json(providers: Mapping[str, ProviderShare] | None) -> dict[str, object]:
    if providers is None:
        return {}
    return {"providers": {name: asdict(share) for name, share in providers.items()}}


def _data_to_json(data: DataFacts) -> dict[str, object]:
    return {**asdict(data), "pictures": list(data.pictures), "skipped": list(data.skipped)}


def _samples_to_json(samples: LatencySamples) -> dict[str, object]:
    return {"warmup": list(samples.warmup_s), "timed": list(samples.timed_s)}


def _reading_to_json(reading: Reading) -> dict[str, object]:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(reading).items()
    }


def _profile_to_json(profile: NodeTimes) -> dict[str, object]:
    return {"run_s": profile.run_s, "nodes": [asdict(node) for node in profile.nodes]}
