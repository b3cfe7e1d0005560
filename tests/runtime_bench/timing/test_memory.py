"""Peak memory: of a process of its own, and unknown where the kernel does not tell."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from runtime_bench.errors import EdgeError
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.memory import PROCESS_FOLDER, measure_here, peak_memory, read_peak

needs_proc = pytest.mark.skipif(
    read_peak(PROCESS_FOLDER) is None, reason="this system has no /proc/self/status with VmHWM"
)


@pytest.fixture
def tiny_model(repository: Path) -> Path:
    """A model of half a kilobyte, input 32 x 64 px."""
    return repository / "tests" / "data" / "tiny_artifact" / "model.onnx"


@needs_proc
def test_a_fresh_process_is_measured(tiny_model: Path) -> None:
    """The peak is that of Python with onnxruntime: tens of megabytes, not this process's."""
    peak = peak_memory(tiny_model, size=(32, 64), settings=SessionSettings(threads=1))

    assert peak is not None
    assert 20e6 < peak.load < 400e6
    assert 20e6 < peak.run < 400e6
    assert peak.most == max(peak.load, peak.run)


def use_new_memory() -> None:
    """Touch every page of 64 MiB that are mapped anew, and give them back.

    An array might lie in what this process freed before, and then nothing is added.
    """
    with mmap.mmap(-1, 64 << 20) as mapped:
        for start in range(0, len(mapped), mmap.PAGESIZE):
            mapped[start] = 1


@needs_proc
def test_the_peak_holds_what_was_freed() -> None:
    """64 MiB that were used for a moment are in the peak, as the kernel counted them."""
    before = read_peak()
    peak = measure_here(use_new_memory)

    assert before is not None
    assert peak is not None
    pages = int((PROCESS_FOLDER / "statm").read_text().split()[1])
    assert peak >= pages * os.sysconf("SC_PAGESIZE") + (48 << 20)


@needs_proc
def test_a_corrupt_model_is_one_line(tmp_path: Path) -> None:
    """The child's error comes through, without a traceback."""
    (tmp_path / "model.onnx").write_bytes(b"no model")

    with pytest.raises(EdgeError, match="measuring its memory failed") as caught:
        peak_memory(tmp_path / "model.onnx", size=(32, 64))

    assert "\n" not in str(caught.value)


@needs_proc
def test_the_wrong_size_is_an_error(tiny_model: Path) -> None:
    """A model that refuses its input has no peak."""
    with pytest.raises(EdgeError, match="measuring its memory failed"):
        peak_memory(tiny_model, size=(64, 64))


def test_unknown_without_proc(tmp_path: Path, tiny_model: Path) -> None:
    """Where nothing tells, the answer is None, and no process is started."""
    assert peak_memory(tiny_model, size=(32, 64), process_folder=tmp_path) is None


def test_the_line_of_the_kernel_is_read(tmp_path: Path) -> None:
    """VmHWM stands in kB, which are 1,024 bytes."""
    (tmp_path / "status").write_text("Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t   12 kB\n")

    assert read_peak(tmp_path) == 12 * 1024
