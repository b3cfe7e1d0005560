"""Tables: the exact words and figures that a person reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime_bench.accuracy.coco import Accuracy
from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import FileEntry, Manifest, OutputSpec
from runtime_bench.bench.doubts import Doubt
from runtime_bench.bench.report import (
    bench_rows,
    install_rows,
    machine_rows,
    manifest_rows,
    megabytes,
    ms,
    profile_tables,
)
from runtime_bench.bench.result import (
    ArtifactFacts,
    BenchResult,
    BenchSettings,
    DataFacts,
)
from runtime_bench.runtime.profile import ProviderShare
from runtime_bench.timing.fresh_start import FreshStart
from runtime_bench.timing.latency import LatencySamples
from runtime_bench.timing.throughput import Throughput
from tests.runtime_bench.bench.test_result import PROFILE, READING

RESULT = BenchResult(
    artifact=ArtifactFacts("yolov8n", "0" * 64, 12_345_678, (256, 320), "detections"),
    settings=BenchSettings(),
    provider="CPUExecutionProvider",
    threads=1,
    machine={},
    data=DataFacts("d.json", True, ("a.jpg",), ("c.jpg: bad",)),
    latency_input="pictures",
    accuracy=Accuracy(0.29134, 0.42871, 0.3, {}, 1, 1731),
    latency=LatencySamples((), (0.009, 0.010, 0.011)),
    end_to_end=LatencySamples((), tuple(0.02 for _ in range(1000))),
    load_time_s=0.0412,
    first_run_s=0.0031,
    peak_memory_bytes=None,
)


def test_a_benchmark_in_words() -> None:
    """Figures are rounded once, here; what is unknown says so."""
    assert bench_rows(RESULT) == [
        ("model", "yolov8n, 12.3 MB"),
        ("input", "256 x 320 px (height x width)"),
        ("runs on", "CPUExecutionProvider, 1 thread"),
        ("AP@[.50:.95]", "0.2913 (of 1 picture, 1,731 boxes)"),
        ("AP50, AP75", "0.4287, 0.3000"),
        ("latency", "p50 10.0 ms, max 11.0 ms (of 3 runs)"),
        (
            "file to boxes",
            "p50 20.0 ms, p90 20.0 ms, p95 20.0 ms, p99 20.0 ms, max 20.0 ms (of 1,000 runs)",
        ),
        ("load, first run", "41.2 ms, 3.10 ms"),
        ("peak memory", "unknown"),
        ("skipped", "1 entry"),
        ("", "c.jpg: bad"),
    ]


def test_what_was_measured_besides_is_told() -> None:
    """Cold start, the parts of memory, energy, throughput, and what the harness costs."""
    rows = dict(
        bench_rows(
            replace(
                RESULT,
                peak_memory_bytes=90_000_000,
                fresh_start=FreshStart(0.4, 0.1, 0.02, 70_000_000, 90_000_000),
                overhead_s=1e-5,
                energy_j=0.0512,
                throughput=Throughput(2, 53.31),
            )
        )
    )

    assert rows["cold start"] == "520.0 ms to the first result (import 400.0 ms, load 100.0 ms)"
    assert rows["peak memory"] == "90.0 MB (load 70.0 MB, run 90.0 MB)"
    assert rows["energy"] == "0.0512 J an inference, the machine included"
    assert rows["throughput"] == "53.3 a second, 2 streams"
    assert rows["harness"] == "10 us of each time (0.10%)"


def test_a_profile_is_two_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """By operation and by layer, the slowest first; what does not fit is added up."""
    monkeypatch.setattr("runtime_bench.bench.report.MOST_LINES", 2)

    operations, layers = profile_tables(PROFILE)

    assert operations == [
        ("operation", "nodes", "ms", "share"),
        ("Conv", "2", "7.000", "70.0%"),
        ("Mul", "1", "2.000", "20.0%"),
        ("1 more", "1", "1.000", "10.0%"),
    ]
    # The change of layout counts for the convolution that it was made for.
    assert layers == [
        ("layer", "nodes", "ms", "share"),
        ("a.conv", "1", "5.000", "50.0%"),
        ("free", "1", "3.000", "30.0%"),
        ("1 more", "1", "2.000", "20.0%"),
    ]


def test_a_doubt_comes_with_a_hint() -> None:
    """What is doubtful stands at the end, with what to do."""
    rows = bench_rows(replace(RESULT, doubts=(Doubt("it is hot", "cool it"),)))

    assert rows[-2:] == [("doubt", "it is hot"), ("", "try: cool it")]


def test_ten_minutes_are_told_by_their_ends() -> None:
    """A device that becomes slower with its heat shows it; a burst has no such row."""
    slower = LatencySamples((), (0.5,) * 240 + (0.6,) * 200)
    hot = replace(READING, temperature_c=79.6)

    rows = dict(bench_rows(replace(RESULT, latency=slower, readings=(READING, hot))))

    assert rows["sustained"] == (
        "p50 500.0 ms in the first minute, 600.0 ms in the last (+20.0%), "
        "up to 80 degrees Celsius"
    )
    assert "sustained" not in dict(bench_rows(RESULT))


def test_what_each_provider_ran_is_told_where_there_are_two() -> None:
    """A provider leaves to the CPU what it cannot run."""
    shares = {"OpenVINO": ProviderShare(1, 0.974), "CPU": ProviderShare(12, 0.026)}

    both = bench_rows(replace(RESULT, providers=shares))
    alone = bench_rows(replace(RESULT, providers={"CPU": shares["CPU"]}))

    assert ("", "OpenVINO: 1 node, 97% of the time") in both
    assert ("", "CPU: 12 nodes, 3% of the time") in both
    assert alone == bench_rows(RESULT)


def test_a_made_up_picture_is_owned_up_to() -> None:
    """Without data the table says what was timed, and has no accuracy."""
    rows = bench_rows(
        replace(
            RESULT, data=None, accuracy=None, end_to_end=None, latency_input="grey and noise"
        )
    )

    assert ("", "of a made-up picture (grey and noise); pass --data") in rows
    assert "AP@[.50:.95]" not in dict(rows)


def test_unlabelled_data_has_no_accuracy() -> None:
    """The row stays and gives the reason."""
    rows = dict(bench_rows(replace(RESULT, accuracy=None)))

    assert rows["accuracy"] == "not measured: the data has no labels"


@pytest.mark.parametrize(
    ("time_s", "text"), [(None, "unknown"), (0.0099, "9.90 ms"), (1.5, "1500.0 ms")]
)
def test_milliseconds(time_s: float | None, text: str) -> None:
    """Below 10 ms two decimals matter, above one is enough."""
    assert ms(time_s) == text


def test_megabytes_are_of_a_million() -> None:
    """Sizes are those that a shop or `ls -l --si` gives."""
    assert megabytes(3_600_000) == "3.6 MB"


def test_an_artifact_in_words() -> None:
    """A raw artifact names its decoder; long lists of classes are cut."""
    manifest = Manifest(
        model_name="m",
        family="yolo",
        licence="AGPL-3.0",
        names=tuple(f"class {index}" for index in range(12)),
        stride=32,
        input=InputSpec(size=(32, 64)),
        output=OutputSpec(kind="raw", names=("output0",), decoder="yolo"),
        files={"model.onnx": FileEntry("ab" * 32, 5_000_000)},
        parity={"max_difference": 1e-5},
        provenance={"command": "x" * 100},
    )

    rows = dict(manifest_rows(manifest))

    assert rows["classes"].startswith("12: class 0, class 1, ")
    assert rows["classes"].endswith("class 9, ...")
    assert rows["output"] == "output0, for the decoder 'yolo'"
    assert rows["model.onnx"] == "5.0 MB, sha256 abababababab..."
    assert rows["parity max_difference"] == "1e-05"
    assert rows["made: command"] == "x" * 77 + "..."


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (InputSpec(size=(32, 64)), "letterbox, bilinear, padded with 114"),
        (
            InputSpec(size=(32, 64), resize="fit", pad_value=None, centred=False),
            "fit, bilinear, at the left top, padded with the mean",
        ),
        (
            InputSpec(size=(32, 64), resize="stretch", pad_value=None, centred=False),
            "stretch, bilinear",
        ),
        (
            InputSpec(size=(32, 32), resize="crop", antialias=True, shorter_px=40),
            "shorter side to 40 px, bilinear, the middle of it",
        ),
    ],
)
def test_how_a_picture_is_prepared_in_words(spec: InputSpec, words: str) -> None:
    """What happens to it, and what fills what it leaves free."""
    output = OutputSpec(kind="raw", names=("output0",), decoder="yolo")
    manifest = Manifest("m", "yolo", "MIT", ("a",), 32, spec, output, files={})

    assert dict(manifest_rows(manifest))["preparation"] == words


def test_a_machine_in_words() -> None:
    """Units are those that people use, unknown values keep their row."""
    rows = machine_rows(
        {
            "cpu": "Cortex-A76",
            "cores_logical": 4,
            "frequency_max_hz": 2_400_000_000,
            "temperature_c": 51.2,
            "memory_total_bytes": 8_000_000_000,
            "frequency_hz": None,
            "throttled": ("under-voltage", "throttled"),
            "stopped": (),
        }
    )

    assert rows == [
        ("cpu", "Cortex-A76"),
        ("cores logical", "4"),
        ("frequency max", "2.40 GHz"),
        ("temperature", "51 degrees Celsius"),
        ("memory total", "8000 MB"),
        ("frequency", "unknown"),
        ("throttled", "under-voltage, throttled"),
        ("stopped", "no"),
    ]


def test_what_is_lacking_comes_last() -> None:
    """Packages name the extra that brings them; nothing lacking is said too."""
    install = {
        "machine": {},
        "packages": [
            {"name": "numpy", "brought_by": "base", "version": "2.4"},
            {"name": "torch", "brought_by": "prune", "version": None},
        ],
        "providers": None,
        "other_providers": {"openvino": "pip install onnxruntime-openvino"},
        "lacking": [],
    }

    assert install_rows(install) == [
        ("numpy", "2.4"),
        ("torch", "not installed (extra 'prune')"),
        ("providers", "unknown"),
        (
            "provider openvino",
            "not here; it comes with: pip install onnxruntime-openvino",
        ),
        ("lacking", "nothing"),
    ]


def test_a_device_with_its_own_memory_is_named() -> None:
    """So is what building its engine took."""
    rows = bench_rows(replace(RESULT, provider="TensorrtExecutionProvider", build_time_s=60.0))

    assert ("", "of the device alone: input and output stay in its memory") in rows
    assert ("", "and 60.0 s to build its engine, once") in rows
