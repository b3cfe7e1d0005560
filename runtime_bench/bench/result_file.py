"""Read the file of a benchmark's result, perhaps of an earlier version, and check all of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, cast

from runtime_bench.accuracy.coco import Accuracy
from runtime_bench.accuracy.predictions import Scored
from runtime_bench.accuracy.top_k import ClassAccuracy
from runtime_bench.bench.doubts import Doubt
from runtime_bench.bench.result import (
    FORMAT,
    VERSION,
    ArtifactFacts,
    BenchResult,
    BenchSettings,
    DataFacts,
)
from runtime_bench.json_fields import JsonFields
from runtime_bench.machine.readings import Reading
from runtime_bench.machine.watch import MOST_READINGS
from runtime_bench.runtime.profile import NodeTime, NodeTimes, ProviderShare
from runtime_bench.timing.fresh_start import FreshStart
from runtime_bench.timing.inputs import INPUTS, LatencyInput
from runtime_bench.timing.latency import LatencySamples
from runtime_bench.timing.throughput import Throughput

MOST_COUNTED = 1 << 53
LONGEST_TIME_S = 1e7
MOST_DOUBTS = 100
MOST_SIDES = 16
MOST_NODES = 1_000_000
STARTS = ("fresh_start", "fresh_without_arena")
END_TO_END = "end_to_end_samples_s"
WORDS_OF_READING = ("throttling", "throttled_since_start")
COUNTS_OF_READING = ("frequency_hz", "throttle_events", "quota_stops", "memory_available_bytes")


def from_json(value: object, *, source: str = "result") -> BenchResult:
    """Check the content of a result file and return it as a value.

    Args:
        value: What the file holds.
        source: The name of the file, for error messages.

    Raises:
        EdgeError: If anything is missing, unknown, of a wrong type or out of range.
    """
    fields = JsonFields(value, source=source)
    fields.text("format", choices=(FORMAT,))
    fields.integer("version", least=VERSION, most=VERSION)
    for derived in ("latency_s", "end_to_end_s"):
        fields.take(derived)
    result = BenchResult(
        artifact=_read_artifact(fields.child("artifact")),
        settings=_read_settings(fields.child("settings")),
        provider=fields.text("provider"),
        threads=fields.integer("threads", least=1, most=MOST_COUNTED),
        machine=fields.mapping("machine"),
        data=_read_data(fields) if fields.is_known("data") else None,
        latency_input=cast("LatencyInput", fields.text("latency_input", choices=INPUTS)),
        accuracy=_read_accuracy(fields) if fields.is_known("accuracy") else None,
        latency=_read_samples(fields, "latency_samples_s"),
        end_to_end=_read_samples(fields, END_TO_END) if fields.is_known(END_TO_END) else None,
        load_time_s=_time(fields, "load_time_s"),
        first_run_s=_time(fields, "first_run_s"),
        peak_memory_bytes=_read_count(fields, "peak_memory_bytes"),
        **_read_later(fields),
    )
    fields.finish()
    return result


def _read_later(fields: JsonFields) -> dict[str, Any]:
    """Return what results of an earlier version lack, as far as it is there."""

    def known(key: str) -> bool:
        return key in fields.left() and fields.is_known(key)

    return {
        "providers": _read_providers(fields) if known("providers") else None,
        **{key: _read_start(fields, key) if known(key) else None for key in STARTS},
        "build_time_s": _time(fields, "build_time_s") if known("build_time_s") else None,
        "overhead_s": _time(fields, "overhead_s") if known("overhead_s") else None,
        "energy_j": (
            fields.number("energy_j", least=0, most=MOST_COUNTED) if known("energy_j") else None
        ),
        "profile": _read_profile(fields) if known("profile") else None,
        "throughput": _read_throughput(fields) if known("throughput") else None,
        "readings": _read_readings(fields) if known("readings") else (),
        "doubts": _read_doubts(fields) if known("doubts") else (),
        "latency_pictures": (
            fields.texts("latency_pictures", least=0, most=MOST_COUNTED)
            if known("latency_pictures")
            else ()
        ),
    }


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


def _read_settings(fields: JsonFields) -> BenchSettings:
    settings = BenchSettings(
        threads=_read_count(fields, "threads", least=1),
        warmup_runs=fields.integer("warmup_runs", least=0, most=MOST_COUNTED),
        # Where an earlier version did not say it, no more runs were made than asked.
        most_warmup_s=(
            _time(fields, "most_warmup_s") if "most_warmup_s" in fields.left() else 0.0
        ),
        min_runs=fields.integer("min_runs", least=2, most=MOST_COUNTED),
        min_time_s=_time(fields, "min_time_s"),
        provider=fields.text("provider"),
        provider_options=_read_options(fields),
        spinning=fields.flag("spinning") if "spinning" in fields.left() else True,
        profile=fields.flag("profile") if "profile" in fields.left() else False,
        streams=_read_count(fields, "streams", least=1) if "streams" in fields.left() else None,
        shapes=_read_shapes(fields),
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


def _read_shapes(fields: JsonFields) -> tuple[tuple[str, tuple[int, ...]], ...]:
    if "shapes" not in fields.left():  # none was given
        return ()
    shapes = fields.child("shapes")
    return tuple(
        (name, shapes.some_integers(name, most_entries=MOST_SIDES, least=1, most=MOST_COUNTED))
        for name in shapes.left()
    )


def _read_providers(fields: JsonFields) -> dict[str, ProviderShare]:
    shares = {}
    for name, entry in fields.children("providers").items():
        shares[name] = ProviderShare(
            nodes=entry.integer("nodes", least=0, most=MOST_COUNTED),
            time_share=entry.number("time_share", least=0, most=1),
        )
        entry.finish()
    return shares


def _read_start(parent: JsonFields, key: str) -> FreshStart:
    fields = parent.child(key)
    found = FreshStart(
        import_s=_time(fields, "import_s"),
        load_s=_time(fields, "load_s"),
        first_run_s=_time(fields, "first_run_s"),
        load_bytes=_read_count(fields, "load_bytes"),
        run_bytes=_read_count(fields, "run_bytes"),
    )
    fields.finish()
    return found


def _read_profile(parent: JsonFields) -> NodeTimes:
    fields = parent.child("profile")
    run_s = _time(fields, "run_s")
    nodes = tuple(map(_read_node, fields.objects("nodes", most=MOST_NODES)))
    fields.finish()
    return NodeTimes(nodes, run_s)


def _read_node(fields: JsonFields) -> NodeTime:
    # Names are of any kind, empty too: they are those of a file that somebody else made.
    node = NodeTime(
        name=fields.any_text("name"),
        op_type=fields.any_text("op_type"),
        source=fields.any_text("source") if fields.is_known("source") else None,
        time_s=_time(fields, "time_s"),
        provider=fields.any_text("provider"),
    )
    fields.finish()
    return node


def _read_throughput(parent: JsonFields) -> Throughput:
    fields = parent.child("throughput")
    found = Throughput(
        streams=fields.integer("streams", least=1, most=MOST_COUNTED),
        per_second=fields.number("per_second", least=0, most=MOST_COUNTED),
    )
    fields.finish()
    return found


def _read_readings(parent: JsonFields) -> tuple[Reading, ...]:
    return tuple(
        _read_reading(fields) for fields in parent.objects("readings", most=MOST_READINGS)
    )


def _read_reading(fields: JsonFields) -> Reading:
    values: dict[str, Any] = {"at_s": _time(fields, "at_s")}
    for key in WORDS_OF_READING:
        values[key] = _texts(fields, key) if fields.is_known(key) else None
    for key in fields.left():
        values[key] = (
            fields.number(key, least=-MOST_COUNTED, most=MOST_COUNTED)
            if fields.is_known(key)
            else None
        )
    names = {field.name for field in dataclasses.fields(Reading)}
    if set(values) != names:
        wrong = ", ".join(sorted(set(values) ^ names))
        raise fields.error(None, f"lacks or does not know: {wrong}")
    for key in COUNTS_OF_READING:
        values[key] = None if values[key] is None else int(values[key])
    return Reading(**values)


def _read_doubts(parent: JsonFields) -> tuple[Doubt, ...]:
    doubts = []
    for fields in parent.objects("doubts", most=MOST_DOUBTS):
        doubts.append(Doubt(what=fields.text("what"), hint=fields.text("hint")))
        fields.finish()
    return tuple(doubts)


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


def _read_accuracy(parent: JsonFields) -> Scored:
    fields = parent.child("accuracy")
    accuracy = _read_top(fields) if "top1" in fields.left() else _read_ap(fields)
    fields.finish()
    return accuracy


def _read_ap(fields: JsonFields) -> Accuracy:
    return Accuracy(
        ap=fields.number("ap", least=0, most=1),
        ap50=fields.number("ap50", least=0, most=1),
        ap75=fields.number("ap75", least=0, most=1),
        ap_by_class=_read_shares(fields, "ap_by_class"),
        pictures=fields.integer("pictures", least=1, most=MOST_COUNTED),
        boxes=fields.integer("boxes", least=1, most=MOST_COUNTED),
    )


def _read_top(fields: JsonFields) -> ClassAccuracy:
    low, high = fields.numbers("top1_interval", count=2, least=0, most=1)
    return ClassAccuracy(
        top1=fields.number("top1", least=0, most=1),
        top1_interval=(low, high),
        top5=fields.number("top5", least=0, most=1),
        top1_by_class=_read_shares(fields, "top1_by_class"),
        pictures=fields.integer("pictures", least=1, most=MOST_COUNTED),
    )


def _read_shares(fields: JsonFields, key: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for name, value in fields.mapping(key).items():
        if not _is_number(value, 1.0):
            raise fields.error(key, "must have numbers from 0 to 1")
        shares[name] = float(cast("float", value))
    return shares


def _read_samples(parent: JsonFields, key: str) -> LatencySamples:
    fields = parent.child(key)
    samples = LatencySamples(_times(fields, "warmup"), _times(fields, "timed"))
    if not samples.timed_s:
        raise fields.error("timed", "must have at least one time")
    fields.finish()
    return samples


def _read_count(fields: JsonFields, key: str, *, least: int = 0) -> int | None:
    """Return a whole number, or None where null stands."""
    return fields.integer(key, least=least, most=MOST_COUNTED) if fields.is_known(key) else None


def _time(fields: JsonFields, key: str) -> float:
    return fields.number(key, least=0, most=LONGEST_TIME_S)


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
