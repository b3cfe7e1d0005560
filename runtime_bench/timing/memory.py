"""The peak of resident memory of this process, as the kernel counts it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

PROCESS_FOLDER = Path("/proc/self")


def measure_here(
    run_model: Callable[[], object], *, process_folder: Path = PROCESS_FOLDER
) -> int | None:
    """Return the peak resident memory, in bytes, of this process while `run_model` runs."""
    # Not every container may write it; the peak then covers what was before it as well.
    with contextlib.suppress(OSError):
        (process_folder / "clear_refs").write_text("5")
    run_model()
    return read_peak(process_folder)


def read_peak(process_folder: Path = PROCESS_FOLDER) -> int | None:
    """Return the peak resident memory (VmHWM), in bytes, or None where it is not told."""
    try:
        status = (process_folder / "status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None
