"""How much memory it takes to load and run a model, measured in a process of its own."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.fresh_process import answer, ask_fresh_process

if TYPE_CHECKING:
    from runtime_bench.runtime.session import Session

PROCESS_FOLDER = Path("/proc/self")
RUNS = 3
# glibc keeps freed blocks below its own, growing limit; what is left over would read as need
# (1.7 to 2.2 times too much). Blocks from 1 MiB on go back to the system at once.
CHILD_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


@dataclass(frozen=True)
class PeakMemory:
    """The most memory, in bytes, that a process has had in use at a time.

    Python, numpy and onnxruntime are part of it, since the device needs them too.

    Attributes:
        load: While the model was loaded.
        run: While it ran.
    """

    load: int
    run: int

    @property
    def most(self) -> int:
        """The greater of the two."""
        return max(self.load, self.run)


def peak_memory(
    model: Path,
    *,
    size: tuple[int, int],
    settings: SessionSettings | None = None,
    process_folder: Path = PROCESS_FOLDER,
) -> PeakMemory | None:
    """Return the peak resident memory of a fresh process that loads and runs `model`.

    Args:
        model: The ONNX file.
        size: (height, width) of the input in pixels.
        settings: How onnxruntime is to run.
        process_folder: Where the kernel tells about a process; tests pass another.

    Returns:
        None where the kernel does not tell (it is Linux that has /proc).

    Raises:
        EdgeError: If the model cannot be loaded or run, or the process is killed.
    """
    if read_peak(process_folder) is None:
        return None
    told = ask_fresh_process(
        "runtime_bench.timing.memory",
        model,
        purpose="measuring its memory",
        shape=(1, 3, *size),
        settings=replace(settings or SessionSettings(), profile_path=None),
        environment=CHILD_ENVIRONMENT,
    )
    return PeakMemory(load=int(told["load"]), run=int(told["run"]))


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


def _load_and_run(load: Callable[[], Session], shape: tuple[int, ...]) -> Mapping[str, object]:
    sessions: list[Session] = []
    load_bytes = measure_here(lambda: sessions.append(load()))

    def run() -> None:
        import numpy as np

        noise = np.random.default_rng(0).random(shape, dtype=np.float32)
        for _ in range(RUNS):
            sessions[0].run(noise)

    return {"load": load_bytes, "run": measure_here(run)}


if __name__ == "__main__":
    answer(_load_and_run)
