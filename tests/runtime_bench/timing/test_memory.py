"""Peak memory: as the kernel counts it, and unknown where it does not."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from runtime_bench.timing.memory import PROCESS_FOLDER, measure_here, read_peak

needs_proc = pytest.mark.skipif(
    read_peak(PROCESS_FOLDER) is None, reason="this system has no /proc/self/status with VmHWM"
)


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


def test_the_line_of_the_kernel_is_read(tmp_path: Path) -> None:
    """VmHWM stands in kB, which are 1,024 bytes."""
    (tmp_path / "status").write_text("Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t   12 kB\n")

    assert read_peak(tmp_path) == 12 * 1024
