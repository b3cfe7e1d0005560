"""Start a process that loads and runs a model: how long until it answers, and what it takes.

A process that has run already can tell neither: its memory was used by other things, and
everything is imported. The files lie in the system's cache, so what a slow card adds to the
first start after switching on is not in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from runtime_bench.errors import EdgeError
from runtime_bench.runtime.feeds import Shapes
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.memory import measure_here

LONGEST_S = 600.0
RUNS = 3
# glibc keeps freed blocks below its own, growing limit; what is left over would read as need
# (1.7 to 2.2 times too much). Blocks from 1 MiB on go back to the system at once.
CHILD_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


@dataclass(frozen=True)
class FreshStart:
    """What the start of one process took. Python, numpy and onnxruntime are part of it.

    Attributes:
        import_s: From the start of the process to Python with numpy and onnxruntime.
        load_s: From the file to a session that can run.
        first_run_s: The first run.
        load_bytes: The peak of resident memory while the model was loaded; None where the
            kernel does not tell (it is Linux that does).
        run_bytes: The same while it ran.
    """

    import_s: float
    load_s: float
    first_run_s: float
    load_bytes: int | None
    run_bytes: int | None

    @property
    def total_s(self) -> float:
        """From the start of the process to the first result."""
        return self.import_s + self.load_s + self.first_run_s

    @property
    def peak_bytes(self) -> int | None:
        """The most memory that it had in use at a time."""
        if self.load_bytes is None or self.run_bytes is None:
            return None
        return max(self.load_bytes, self.run_bytes)


def start_fresh(
    model: Path, *, shapes: Shapes, settings: SessionSettings | None = None
) -> FreshStart:
    """Load and run a model in a fresh process, and return what that took.

    Args:
        model: The ONNX file.
        shapes: Of its inputs, by name.
        settings: How onnxruntime is to run.

    Raises:
        EdgeError: If the model cannot be loaded or run, or the process is killed.
    """
    settings = replace(settings or SessionSettings(), profile_path=None)
    asked = {
        "model": str(model.absolute()),
        "shapes": dict(shapes),
        "settings": asdict(settings),
    }
    # Of all clocks, this one alone is the same in the process that is started.
    start_s = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "runtime_bench.timing.fresh_start"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
            env={**os.environ, **CHILD_ENVIRONMENT},
            # `-m` imports from the current folder first; here that is where we are installed.
            cwd=Path(__file__).resolve().parents[2],
        )
    except subprocess.TimeoutExpired:
        raise EdgeError(f"{model}: {RUNS} runs took over {LONGEST_S:.0f} s") from None
    _check_end(model, done)
    told = json.loads(done.stdout)
    return FreshStart(
        import_s=told["imported_s"] - start_s,
        load_s=told["loaded_s"] - told["imported_s"],
        first_run_s=told["answered_s"] - told["loaded_s"],
        load_bytes=told["load_bytes"],
        run_bytes=told["run_bytes"],
    )


def _check_end(model: Path, done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode < 0:
        raise EdgeError(
            f"{model}: a process that loads and runs it was ended by signal "
            f"{-done.returncode}; the machine may have too little memory"
        )
    if done.returncode > 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EdgeError(f"{model}: a process that loads and runs it failed: {reason}")


def main() -> None:
    """In the fresh process: do what the standard input asks for, and write what it took."""
    from runtime_bench.runtime.feeds import made_up_feed
    from runtime_bench.runtime.session import Session, open_session

    imported_s = time.monotonic()
    asked = json.load(sys.stdin)
    options = asked["settings"]
    options["provider_options"] = tuple(map(tuple, options["provider_options"]))
    settings, sessions, answered_s = SessionSettings(**options), list[Session](), list[float]()
    shapes = {name: tuple(shape) for name, shape in asked["shapes"].items()}

    def run() -> None:
        feed = made_up_feed(sessions[0].inputs, shapes)
        for _ in range(RUNS):
            sessions[0].run(feed)
            answered_s.append(time.monotonic())

    try:
        load_bytes = measure_here(
            lambda: sessions.append(open_session(Path(asked["model"]), settings))
        )
        loaded_s = time.monotonic()
        run_bytes = measure_here(run)
    except EdgeError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    told = {
        "imported_s": imported_s,
        "loaded_s": loaded_s,
        "answered_s": answered_s[0],
        "load_bytes": load_bytes,
        "run_bytes": run_bytes,
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
