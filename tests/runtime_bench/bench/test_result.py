"""The result file: what goes in comes out, and version 1 can always be read."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.accuracy.coco import Accuracy
from runtime_bench.bench.doubts import Doubt
from runtime_bench.bench.result import (
    ArtifactFacts,
    BenchResult,
    BenchSettings,
    DataFacts,
)
from runtime_bench.bench.result_file import from_json
from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from runtime_bench.machine.readings import Reading
from runtime_bench.runtime.profile import NodeTime, NodeTimes, ProviderShare
from runtime_bench.timing.fresh_start import FreshStart
from runtime_bench.timing.latency import LatencySamples
from runtime_bench.timing.throughput import Throughput

READING = Reading(
    at_s=0.5,
    frequency_hz=1_500_000_000,
    temperature_c=51.2,
    throttling=("under-voltage",),
    throttled_since_start=(),
    throttle_events=None,
    quota_stops=3,
    power_w=4.5,
    energy_j=None,
    others_s=-0.01,
    stolen_s=0.0,
    memory_available_bytes=1 << 30,
)

PROFILE = NodeTimes(
    (
        NodeTime("ReorderInput", "ReorderInput", None, 0.001, "CPU"),
        NodeTime("a.conv/Conv_nchwc", "Conv", "a.conv/Conv", 0.004, "CPU"),
        NodeTime("a.act/Mul", "Mul", "a.act/Mul", 0.002, "CPU"),
        NodeTime("", "Conv", "free", 0.003, "CPU"),
    ),
    run_s=0.011,
)
START = asdict(FreshStart(0.4, 0.1, 0.2, 1, 2))
NO_FLAGS = {"throttling": [], "throttled_since_start": []}


def make_result(*, full: bool = True) -> BenchResult:
    """Return a result; one that is not full has None wherever that is allowed."""
    return BenchResult(
        artifact=ArtifactFacts("tiny", "0" * 64, 460, (32, 64), "detections"),
        settings=BenchSettings(
            threads=2 if full else None,
            min_runs=2,
            spinning=not full,
            streams=2 if full else None,
            provider_options=(("device_type", "CPU"),) if full else (),
        ),
        provider="CPUExecutionProvider",
        threads=2,
        machine={"cpu": "x", "temperature_c": None},
        data=DataFacts("d.json", True, ("a.jpg", "b.jpg"), ("c.jpg: bad",)) if full else None,
        latency_input="pictures" if full else "grey and noise",
        accuracy=Accuracy(0.5, 0.7, 0.6, {"disc": 0.5}, 2, 3) if full else None,
        latency=LatencySamples((0.5,), (0.25, 0.125, 0.25)),
        end_to_end=LatencySamples((), (0.5, 0.75)) if full else None,
        load_time_s=0.1,
        first_run_s=0.2,
        peak_memory_bytes=64_000_000 if full else None,
        providers={"CPUExecutionProvider": ProviderShare(7, 1.0)} if full else None,
        fresh_start=FreshStart(0.4, 0.1, 0.2, 1, 2) if full else None,
        fresh_without_arena=FreshStart(0.4, 0.1, 0.2, None, None) if full else None,
        overhead_s=1e-5 if full else None,
        energy_j=0.25 if full else None,
        profile=PROFILE if full else None,
        throughput=Throughput(2, 30.5) if full else None,
        readings=(READING,) if full else (),
        doubts=(Doubt("it is hot", "cool it"),) if full else (),
        latency_pictures=("0" * 64,) if full else (),
        build_time_s=60.5 if full else None,
    )


@pytest.mark.parametrize("full", [True, False])
def test_a_file_gives_back_what_was_written(tmp_path: Path, full: bool) -> None:
    """Every raw sample survives, and so does every None."""
    content = make_result(full=full).to_json()
    write_json(tmp_path / "result.json", content)

    read = from_json(read_json(tmp_path / "result.json"))

    assert read.settings == make_result(full=full).settings
    assert read.providers == make_result(full=full).providers
    assert read.readings == make_result(full=full).readings
    assert read.to_json() == content
    assert read.latency == make_result().latency
    assert read.artifact.input_size == (32, 64)


def test_percentiles_are_derived_from_the_samples() -> None:
    """A percentile that somebody changed in the file is computed anew."""
    content: dict[str, Any] = copy.deepcopy(make_result().to_json())
    content["latency_s"]["p50"] = 99.0

    assert from_json(content).to_json() == make_result().to_json()


def test_version_1_still_loads(repository: Path) -> None:
    """The file that version 1 wrote is read for good."""
    path = repository / "tests" / "data" / "result_v1.json"

    result = from_json(read_json(path), source=str(path))

    assert result.artifact.model_name == "tiny"
    assert result.latency.timed_s == (0.25, 0.125, 0.25)
    assert result.accuracy == Accuracy(0.5, 0.7, 0.6, {"disc": 0.5}, 2, 3)
    assert result.data == DataFacts("d.json", True, ("a.jpg", "b.jpg"), ("c.jpg: bad",))
    old, new = json.loads(path.read_text()), result.to_json()
    for derived in ("latency_s", "end_to_end_s"):
        assert old.pop(derived)["p50"] == new[derived]["p50"]
    assert old.pop("settings").items() <= new["settings"].items()
    assert old.items() <= new.items()
    assert result.settings.most_warmup_s == 0  # nobody had asked for more than a count


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something"}, "format"),
        ({"version": 2}, "version"),
        ({"threads": "two"}, "threads"),
        ({"load_time_s": -1}, "load_time_s"),
        ({"latency_samples_s": {"warmup": [], "timed": []}}, "at least one time"),
        ({"latency_samples_s": {"warmup": [], "timed": [True]}}, "list of times"),
        ({"latency_samples_s": None}, "latency_samples_s"),
        ({"settings": []}, "settings"),
        ({"accuracy": {"ap": 2}}, "ap"),
        ({"data": {"source": "x", "labelled": True, "pictures": [1]}}, "list of texts"),
        ({"extra": 1}, "extra"),
        ({"readings": [{"at_s": 0, **NO_FLAGS}]}, "lacks or does not know: energy_j"),
        (
            {
                "readings": [
                    {
                        **asdict(READING),
                        "throttling": [],
                        "throttled_since_start": [],
                        "spare": 1,
                    }
                ]
            },
            "spare",
        ),
        ({"doubts": [{"what": "x"}]}, "hint"),
        ({"fresh_start": {"import_s": 1, "load_s": 1}}, "first_run_s"),
        ({"fresh_without_arena": {**START, "run_bytes": -1}}, "run_bytes"),
        ({"profile": {"run_s": 1, "nodes": [{"name": 1}]}}, "name must be a text"),
        ({"throughput": {"streams": 0, "per_second": 1}}, "streams"),
    ],
)
def test_a_wrong_file_is_one_line(change: dict[str, object], message: str) -> None:
    """The error names the file and the field."""
    content = {**make_result().to_json(), **change}

    with pytest.raises(EdgeError, match=message) as caught:
        from_json(content, source="result.json")

    assert str(caught.value).startswith("result.json: ")


@given(
    key=st.sampled_from(sorted(make_result().to_json())),
    value=st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
)
def test_no_value_anywhere_crashes_it(key: str, value: object) -> None:
    """Whatever stands in a field, the answer is a result or an EdgeError."""
    content = {**make_result().to_json(), key: value}

    try:
        from_json(content)
    except EdgeError as error:
        assert str(error)  # noqa: PT017 (both answers are good ones)
