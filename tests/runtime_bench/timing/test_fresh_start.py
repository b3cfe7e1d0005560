"""A fresh start: a process of its own, its time to the first result and its memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime_bench.errors import EdgeError
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.fresh_start import FreshStart, start_fresh
from runtime_bench.timing.memory import read_peak

SHAPES = {"images": (1, 3, 32, 64)}


@pytest.fixture
def tiny_model(repository: Path) -> Path:
    """A model of half a kilobyte, input 32 x 64 px."""
    return repository / "tests" / "data" / "tiny_artifact" / "model.onnx"


def test_a_fresh_process_is_measured(tiny_model: Path) -> None:
    """Importing takes most of it; memory is that of Python with onnxruntime, not ours."""
    found = start_fresh(tiny_model, shapes=SHAPES, settings=SessionSettings(threads=1))

    assert found.import_s > 0.02
    assert found.load_s > 0
    assert found.first_run_s > 0
    assert found.total_s == pytest.approx(found.import_s + found.load_s + found.first_run_s)
    if read_peak() is None:
        assert found.peak_bytes is None
    else:
        assert found.load_bytes is not None
        assert found.run_bytes is not None
        assert 20e6 < found.load_bytes < 400e6
        assert 20e6 < found.run_bytes < 400e6


def test_what_the_kernel_does_not_tell_is_unknown() -> None:
    """Without /proc there are times, and no memory."""
    assert FreshStart(0.4, 0.1, 0.2, None, None).peak_bytes is None
    assert FreshStart(0.4, 0.1, 0.2, 5, 3).peak_bytes == 5


def test_a_corrupt_model_is_one_line(tmp_path: Path) -> None:
    """The child's error comes through, without a traceback."""
    (tmp_path / "model.onnx").write_bytes(b"no model")

    with pytest.raises(EdgeError, match=r"runs it failed: .*cannot be loaded") as caught:
        start_fresh(tmp_path / "model.onnx", shapes=SHAPES)

    assert "\n" not in str(caught.value)


def test_the_wrong_size_is_an_error(tiny_model: Path) -> None:
    """A model that refuses its input has no start."""
    with pytest.raises(EdgeError, match="loads and runs it failed: the model cannot run"):
        start_fresh(tiny_model, shapes={"images": (1, 3, 64, 64)})
