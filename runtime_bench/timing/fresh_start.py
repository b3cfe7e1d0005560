"""Start a process that loads and runs a model: how long until it answers, and what it takes.

A process that has run already can tell neither: its memory was used by other things, and
everything is imported. The files lie in the system's cache, so what a slow card adds to the
first start after switching on is not in it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime_bench.runtime.feeds import Shapes
from runtime_bench.runtime.fresh_process import answer, ask_fresh
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.memory import measure_here

RUNS = 3


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
    # Of all clocks, this one alone is the same in the process that is started.
    start_s = time.monotonic()
    told = ask_fresh(__name__, model, settings or SessionSettings(), {"shapes": dict(shapes)})
    return FreshStart(
        import_s=told["imported_s"] - start_s,
        load_s=told["loaded_s"] - told["imported_s"],
        first_run_s=told["answered_s"] - told["loaded_s"],
        load_bytes=told["load_bytes"],
        run_bytes=told["run_bytes"],
    )


def _start(model: Path, settings: SessionSettings, asked: dict[str, Any]) -> dict[str, object]:
    """In the fresh process: load and run, and note when what was done."""
    from runtime_bench.runtime.feeds import made_up_feed
    from runtime_bench.runtime.session import Session, open_session

    imported_s = time.monotonic()
    sessions, answered_s = list[Session](), list[float]()
    shapes = {name: tuple(shape) for name, shape in asked["shapes"].items()}

    def run() -> None:
        feed = made_up_feed(sessions[0].inputs, shapes)
        for _ in range(RUNS):
            sessions[0].run(feed)
            answered_s.append(time.monotonic())

    load_bytes = measure_here(lambda: sessions.append(open_session(model, settings)))
    loaded_s = time.monotonic()
    run_bytes = measure_here(run)
    return {
        "imported_s": imported_s,
        "loaded_s": loaded_s,
        "answered_s": answered_s[0],
        "load_bytes": load_bytes,
        "run_bytes": run_bytes,
    }


if __name__ == "__main__":
    answer(_start)
