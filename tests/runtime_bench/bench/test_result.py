"""The result file: what goes in comes out, and version 1 can always be read."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.accuracy.coco import Accuracy
from runtime_bench.bench.result import (
    ArtifactFacts,
    BenchResult,
    BenchSettings,
    DataFacts,
    from_json,
)
from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from runtime_bench.runtime.profile import ProviderShare
from runtime_bench.timing.latency import LatencySamples


def make_result(*, full: bool = True) -> BenchResult:
    """Return a result; one that is not full has None wherever that is allowed."""
    return BenchResult(
        artifact=ArtifactFacts("tiny", "0" * 64, 460, (32, 64), "detections"),
        settings=BenchSettings(
            threads=2 if full else None,
            min_runs=2,
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
    )


@pytest.mark.parametrize("full", [True, False])
def test_a_file_gives_back_what_was_written(tmp_path: Path, full: bool) -> None:
    """Every raw sample survives, and so does every None."""
    content = make_result(full=full).to_json()
    write_json(tmp_path / "result.json", content)

    read = from_json(read_json(tmp_path / "result.json"))

    assert read.settings == make_result(full=full).settings
    assert read.providers == make_result(full=full).providers
    assert read.to_json() == content
    assert read.latency == make_result().latency
    assert read.artifact.input_size == (32, 64)


def test_percentiles_are_derived_from_the_samples() -> None:
    """A percentile that somebody changed in the file is computed anew."""
    content: dict[str, Any] = copy.deepcopy(make_result().to_json())
    content["latency_s"]["p50"] = 99.0

    assert from_json(content).to_json()["latency_s"] == {
        "p50": 0.25,
        "p90": 0.25,
        "p99": None,
    }


def test_version_1_still_loads(repository: Path) -> None:
    """The file that version 1 wrote is read for good."""
    path = repository / "tests" / "data" / "result_v1.json"

    result = from_json(read_json(path), source=str(path))

    assert result.artifact.model_name == "tiny"
    assert result.latency.timed_s == (0.25, 0.125, 0.25)
    assert result.accuracy == Accuracy(0.5, 0.7, 0.6, {"disc": 0.5}, 2, 3)
    assert result.data == DataFacts("d.json", True, ("a.jpg", "b.jpg"), ("c.jpg: bad",))
    assert result.to_json() == json.loads(path.read_text())


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
