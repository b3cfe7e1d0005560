"""How much memory it takes to load and run a model, measured in a process of its own."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime_bench.errors import EdgeError

PROCESS_FOLDER = Path("/proc/self")
RUNS = 3
LONGEST_S = 600.0
# glibc keeps freed blocks below its own, growing limit; what is left over would read as need
# (1.7 to 2.2 times too much). Blocks from 1 MiB on go back to the system at once.
CHILD_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


def peak_memory(
    model: Path,
    *,
    size: tuple[int, int],
    threads: int | None = None,
    provider: str = "cpu",
    provider_options: Sequence[tuple[str, str]] = (),
    process_folder: Path = PROCESS_FOLDER,
) -> int | None:
    """Return the peak resident memory, in bytes, of a fresh process that runs `model`.

    Python, numpy and onnxruntime are part of it, since the device needs them too.

    Args:
        model: The ONNX file.
        size: (height, width) of the input in pixels.
        threads: Threads inside one operation; None for all that the process may use.
        provider: The execution provider by our own short name.
        provider_options: Its options as pairs.
        process_folder: Where the kernel tells about a process; tests pass another.

    Returns:
        None where the kernel does not tell (it is Linux that has /proc).

    Raises:
        EdgeError: If the model cannot be loaded or run, or the process is killed.
    """
    if read_peak(process_folder) is None:
        return None
    height, width = size
    command = [sys.executable, "-m", "runtime_bench.timing.memory", str(model.absolute())]
    command += ["--height", str(height), "--width", str(width), "--provider", provider]
    command += [f"--provider-option={key}={value}" for key, value in provider_options]
    if threads is not None:
        command += ["--threads", str(threads)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
            env={**os.environ, **CHILD_ENVIRONMENT},
            # `-m` imports from the current folder first; here that is where we are installed.
            cwd=Path(__file__).resolve().parents[2],
        )
    except subprocess.TimeoutExpired:
        raise EdgeError(
            f"{model}: {RUNS} runs took over {LONGEST_S:.0f} s; use it less"
        ) from None
    _check_end(model, done)
    return int(json.loads(done.stdout)["peak_memory_bytes"])


def _check_end(model: Path, done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode < 0:
        raise EdgeError(
            f"{model}: measuring its memory was ended by signal {-done.returncode}; "
            "the machine may have too little memory"
        )
    if done.returncode > 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EdgeError(f"{model}: measuring its memory failed: {reason}")


def measure_here(
    run_model: Callable[[], object], *, process_folder: Path = PROCESS_FOLDER
) -> int | None:
    """Return the peak resident memory, in bytes, of this process while `run_model` runs."""
    # Not every container may write it; the peak then covers the imports before it as well.
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


def main() -> None:
    """Load and run one model, and write the peak as JSON to the standard output."""
    parser = argparse.ArgumentParser(description="Peak memory of one model; see peak_memory.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--height", type=int, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--provider-option", action="append", default=[])
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    try:
        peak = measure_here(lambda: _load_and_run(asked))
    except EdgeError as error:
        parser.exit(1, f"{error}\n")
    sys.stdout.write(json.dumps({"peak_memory_bytes": peak}))


def _load_and_run(asked: argparse.Namespace) -> None:
    # Imported here, so that the parent, which only starts this process, needs neither.
    import numpy as np

    from runtime_bench.runtime.providers import read_options
    from runtime_bench.runtime.session import open_session
    from runtime_bench.runtime.settings import SessionSettings

    settings = SessionSettings(
        provider=asked.provider,
        provider_options=tuple(read_options(asked.provider_option).items()),
        threads=asked.threads,
    )
    session = open_session(asked.model, settings)
    noise = np.random.default_rng(0).random((1, 3, asked.height, asked.width), dtype=np.float32)
    for _ in range(RUNS):
        session.run(noise)


if __name__ == "__main__":
    main()
