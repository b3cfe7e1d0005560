"""One artifact, measured: everything comes from its own file, and the result says from what."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime_bench.bench.benchmark import run_benchmark
from runtime_bench.bench.result import BenchSettings
from runtime_bench.bench.result_file import from_json
from runtime_bench.data.dataset import Dataset, Picture, read_dataset
from runtime_bench.errors import EdgeError
from runtime_bench.files import sha256_of

QUICK = BenchSettings(threads=1, warmup_runs=2, most_warmup_s=0, min_runs=3, min_time_s=0)


@pytest.fixture
def artifact(repository: Path) -> Path:
    """A detector that always finds one "square", with the mean of red as its score."""
    return repository / "tests" / "data" / "tiny_artifact"


@pytest.fixture
def squares(tmp_path: Path) -> Dataset:
    """Three red pictures of twice the input's size, labelled as the artifact will answer."""
    box = np.array([[16, 8, 48, 40]], np.float32)
    pictures = []
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (128, 64), (200, 0, 0)).save(tmp_path / name)
        pictures.append(
            Picture(name, tmp_path / name, (64, 128), box, np.array([0]), np.array([False]))
        )
    return Dataset("made-up", ("square",), tuple(pictures), True, ("d.png: bad",))


def test_labelled_data_gives_accuracy_and_times(artifact: Path, squares: Dataset) -> None:
    """AP, both latencies, memory and what was used are in the result, raw samples included."""
    result = run_benchmark(artifact, dataset=squares, settings=QUICK, progress=False)

    assert result.accuracy is not None
    assert result.accuracy.ap == pytest.approx(1.0)
    assert result.data is not None
    assert result.data.pictures == ("a.png", "b.png", "c.png")
    assert result.data.skipped == ("d.png: bad",)
    assert result.latency_input == "pictures"
    assert (len(result.latency.warmup_s), len(result.latency.timed_s)) == (2, 3)
    assert result.fresh_start is not None
    assert result.overhead_s is not None
    assert 0 < result.overhead_s < result.fresh_start.total_s
    assert result.peak_memory_bytes == result.fresh_start.peak_bytes
    assert result.fresh_without_arena is not None
    assert [one.at_s for one in result.readings] == sorted(one.at_s for one in result.readings)
    assert len(result.readings) >= 2
    assert "only 3 runs were timed" in [doubt.what for doubt in result.doubts]
    assert result.end_to_end is not None
    assert min(result.end_to_end.timed_s) > min(result.latency.timed_s)
    assert result.provider == "CPUExecutionProvider"
    assert result.threads == 1
    assert result.artifact.sha256 == sha256_of(artifact / "model.onnx")
    assert from_json(result.to_json()).to_json() == result.to_json()


def test_without_data_a_made_up_picture_is_timed(artifact: Path) -> None:
    """The result says so, and has neither accuracy nor a time from file to boxes."""
    result = run_benchmark(artifact, settings=QUICK, progress=False)

    assert result.latency_input == "grey and noise"
    assert result.accuracy is None
    assert result.end_to_end is None
    assert result.data is None


def test_pictures_alone_are_timed(artifact: Path, squares: Dataset) -> None:
    """Paths without a data set give real times and no accuracy."""
    paths = [picture.path for picture in squares.pictures]

    result = run_benchmark(artifact, pictures=paths, settings=QUICK, progress=False)

    assert result.latency_input == "pictures"
    assert result.end_to_end is not None
    assert result.accuracy is None


def test_unlabelled_pictures_have_no_accuracy(artifact: Path, squares: Dataset) -> None:
    """A folder of pictures is timed, and listed in the result."""
    dataset = read_dataset(squares.pictures[0].path.parent)

    result = run_benchmark(artifact, dataset=dataset, settings=QUICK, progress=False)

    assert result.accuracy is None
    assert result.data is not None
    assert not result.data.labelled
    assert len(result.data.pictures) == 3


def test_a_changed_model_is_refused(artifact: Path, tmp_path: Path) -> None:
    """A model file that is not the manifest's is not measured."""
    copy = tmp_path / "artifact"
    shutil.copytree(artifact, copy)
    with (copy / "model.onnx").open("ab") as file:
        file.write(b"x")

    with pytest.raises(EdgeError, match=r"model\.onnx"):
        run_benchmark(copy, settings=QUICK, progress=False)
