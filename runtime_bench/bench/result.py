"""What a benchmark found, as a value and as a file: raw samples, and what derives from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, cast

from runtime_bench.accuracy.coco import Accuracy
from runtime_bench.artifact.manifest import MODEL_FILE, Manifest
from runtime_bench.json_fields import JsonFields
from runtime_bench.runtime.profile import ProviderShare
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.latency import LatencySamples

FORMAT = "xprune-edge result"
VERSION = 1

MOST_COUNTED = 1 << 53
LONGEST_TIME_S = 1e7

INPUTS = ("pictures", "grey and noise")
LatencyInput = Literal["pictures", "grey and noise"]

END_TO_END = "end_to_end_samples_s"
PEAK = "peak_memory_bytes"
OPTIONAL = {"data", "accuracy", END_TO_END, PEAK}


@dataclass(frozen=True)
class BenchSettings:
    """How to measure.

    Attributes:
        threads: Threads inside one operation; None for all that this process may use.
        warmup_runs: Runs made first, whose times do not count.
        min_runs: The least number of timed runs.
        min_time_s: The least sum of timed seconds.
        provider: The execution provider by our own short name.
        provider_options: Its options as pairs.
    """

    threads: int | None = None
    warmup_runs: int = 5
    min_runs: int = 50
    min_time_s: float = 3.0
    provider: str = "cpu"
    provider_options: tuple[tuple[str, str], ...] = ()

    @property
    def session(self) -> SessionSettings:
        """How onnxruntime is to run."""
        return SessionSettings(
            provider=self.provider,
            provider_options=self.provider_options,
            threads=self.threads,
        )


@dataclass(frozen=True)
class ArtifactFacts:
    """Which model file was measured, by checksum, and its input (height, width) in pixels."""

    model_name: str
    sha256: str
    size_bytes: int
    input_size: tuple[int, int]
    output: str


def artifact_facts(manifest: Manifest) -> ArtifactFacts:
    """Return what a result says of the artifact that a manifest describes."""
    model = manifest.files[MODEL_FILE]
    return ArtifactFacts(
        model_name=manifest.model_name,
        sha256=model.sha256,
        size_bytes=model.size_bytes,
        input_size=manifest.input.size,
        output=manifest.output.kind,
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
            the CPU what it cannot run. None in results of an earlier version.
    """

    artifact: ArtifactFacts
    settings: BenchSettings
    provider: str
    threads: int
    machine: dict[str, object]
    data: DataFacts | None
    latency_input: LatencyInput
    accuracy: Accuracy | None
    latency: LatencySamples
    end_to_end: LatencySamples | None
    load_time_s: float
    first_run_s: float
    peak_memory_bytes: int | None
    providers: Mapping[str, ProviderShare] | None = None

    def to_json(self) -> dict[str, object]:
        """Return the content of a result file; percentiles are there for people to read."""
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
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "latency_s": asdict(self.latency.percentiles),
            "latency_samples_s": _samples_to_json(self.latency),
            "end_to_end_s": self.end_to_end and asdict(self.end_to_end.percentiles),
            "end_to_end_samples_s": self.end_to_end and _samples_to_json(self.end_to_end),
            "load_time_s": self.load_time_s,
            "first_run_s": self.first_run_s,
            "peak_memory_bytes": self.peak_memory_bytes,
        }


def from_json(value: object, *, source: str = "result") -> BenchResult:
    """Check the content of a result file and return it as a value.

    Args:
        value: What the file holds.
        source: The name of the file, for error messages.

    Raises:
        EdgeError: If anything is missing, unknown, of a wrong type or out of range.
    """
    fields = JsonFields(value, source=source)
    content = cast("dict[str, object]", value)
    fields.text("format", choices=(FORMAT,))
    fields.integer("version", least=VERSION, most=VERSION)
    for derived in ("latency_s", "end_to_end_s"):
        fields.take(derived)
    # These may be null, but must be there.
    known = {key for key in OPTIONAL if content.get(key) is not None}
    for key in OPTIONAL - known:
        fields.take(key)
    result = BenchResult(
        artifact=_read_artifact(fields.child("artifact")),
        settings=_read_settings(fields.child("settings"), content["settings"]),
        provider=fields.text("provider"),
        threads=fields.integer("threads", least=1, most=MOST_COUNTED),
        machine=fields.mapping("machine"),
        data=_read_data(fields) if "data" in known else None,
        latency_input=cast("LatencyInput", fields.text("latency_input", choices=INPUTS)),
        accuracy=_read_accuracy(fields) if "accuracy" in known else None,
        latency=_read_samples(fields, "latency_samples_s"),
        end_to_end=_read_samples(fields, END_TO_END) if END_TO_END in known else None,
        load_time_s=fields.number("load_time_s", least=0, most=LONGEST_TIME_S),
        first_run_s=fields.number("first_run_s", least=0, most=LONGEST_TIME_S),
        peak_memory_bytes=(
            fields.integer(PEAK, least=0, most=MOST_COUNTED) if PEAK in known else None
        ),
        providers=_read_providers(fields) if "providers" in fields.left() else None,
    )
    fields.finish()
    return result


def _settings_to_json(settings: BenchSettings) -> dict[str, object]:
    content = asdict(settings)
    del content["provider_options"]
    options = dict(settings.provider_options)
    return {**content, "provider_options": options} if options else content


def _providers_to_json(providers: Mapping[str, ProviderShare] | None) -> dict[str, object]:
    if providers is None:
        return {}
    return {"providers": {name: asdict(share) for name, share in providers.items()}}


def _data_to_json(data: DataFacts) -> dict[str, object]:
    return {**asdict(data), "pictures": list(data.pictures), "skipped": list(data.skipped)}


def _samples_to_json(samples: LatencySamples) -> dict[str, object]:
    return {"warmup": list(samples.warmup_s), "timed": list(samples.timed_s)}


def _read_artifact(fields: JsonFields) -> ArtifactFacts:
    size = fields.integers("input_size", count=2, least=1, most=MOST_COUNTED)
    facts = ArtifactFacts(
        model_name=fields.text("model_name"),
        sha256=fields.text("sha256"),
        size_bytes=fields.integer("size_bytes", least=0, most=MOST_COUNTED),
        input_size=(size[0], size[1]),
        output=fields.text("output"),
    )
    fields.finish()
    return facts


def _read_settings(fields: JsonFields, content: object) -> BenchSettings:
    threads: int | None = None
    if cast("dict[str, object]", content).get("threads") is None:
        fields.take("threads")
    else:
        threads = fields.integer("threads", least=1, most=MOST_COUNTED)
    settings = BenchSettings(
        threads=threads,
        warmup_runs=fields.integer("warmup_runs", least=0, most=MOST_COUNTED),
        min_runs=fields.integer("min_runs", least=2, most=MOST_COUNTED),
        min_time_s=fields.number("min_time_s", least=0, most=LONGEST_TIME_S),
        provider=fields.text("provider"),
        provider_options=_read_options(fields),
    )
    fields.finish()
    return settings


def _read_options(fields: JsonFields) -> tuple[tuple[str, str], ...]:
    if "provider_options" not in fields.left():  # of an earlier version
        return ()
    options = fields.child("provider_options")
    pairs = tuple((name, options.text(name)) for name in options.left())
    options.finish()
    return pairs


def _read_providers(fields: JsonFields) -> dict[str, ProviderShare]:
    shares = {}
    for name, entry in fields.children("providers").items():
        shares[name] = ProviderShare(
            nodes=entry.integer("nodes", least=0, most=MOST_COUNTED),
            time_share=entry.number("time_share", least=0, most=1),
        )
        entry.finish()
    return shares


def _read_data(parent: JsonFields) -> DataFacts:
    fields = parent.child("data")
    data = DataFacts(
        source=fields.text("source"),
        labelled=fields.flag("labelled"),
        pictures=_texts(fields, "pictures"),
        skipped=_texts(fields, "skipped"),
    )
    fields.finish()
    return data


def _read_accuracy(parent: JsonFields) -> Accuracy:
    fields = parent.child("accuracy")
    by_class: dict[str, float] = {}
    for name, value in fields.mapping("ap_by_class").items():
        if not _is_number(value, 1.0):
            raise fields.error("ap_by_class", "must have numbers from 0 to 1")
        by_class[name] = float(cast("float", value))
    accuracy = Accuracy(
        ap=fields.number("ap", least=0, most=1),
        ap50=fields.number("ap50", least=0, most=1),
        ap75=fields.number("ap75", least=0, most=1),
        ap_by_class=by_class,
        pictures=fields.integer("pictures", least=1, most=MOST_COUNTED),
        boxes=fields.integer("boxes", least=1, most=MOST_COUNTED),
    )
    fields.finish()
    return accuracy


def _read_samples(parent: JsonFields, key: str) -> LatencySamples:
    fields = parent.child(key)
    samples = LatencySamples(_times(fields, "warmup"), _times(fields, "timed"))
    if not samples.timed_s:
        raise fields.error("timed", "must have at least one time")
    fields.finish()
    return samples


def _times(fields: JsonFields, key: str) -> tuple[float, ...]:
    values = fields.take(key)
    if not isinstance(values, list) or not all(_is_number(v, LONGEST_TIME_S) for v in values):
        raise fields.error(key, "must be a list of times in seconds")
    return tuple(float(value) for value in values)


def _texts(fields: JsonFields, key: str) -> tuple[str, ...]:
    values = fields.take(key)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise fields.error(key, "must be a list of texts")
    return tuple(values)


def _is_number(value: object, most: float) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and not (isinstance(value, float) and math.isnan(value))
        and 0 <= value <= most
    )
