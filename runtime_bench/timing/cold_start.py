"""How long it takes from starting a process to the first result, as after switching on.

The files lie in the system's cache, so what a slow card adds to the first start is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.fresh_process import answer, ask_fresh_process

if TYPE_CHECKING:
    from runtime_bench.runtime.session import Session

STARTS = 3


@dataclass(frozen=True)
class ColdStart:
    """Seconds of the parts of a start, the median of a few.

    Attributes:
        import_s: From the start of the process to Python with numpy and onnxruntime.
        load_s: From the file to a session that can run.
        first_run_s: The first run.
        total_s: From the start of the process to the first result.
    """

    import_s: float
    load_s: float
    first_run_s: float
    total_s: float


def cold_start(
    model: Path,
    *,
    size: tuple[int, int],
    settings: SessionSettings | None = None,
    starts: int = STARTS,
) -> ColdStart:
    """Return how long fresh processes take to their first result.

    Args:
        model: The ONNX file.
        size: (height, width) of the input in pixels.
        settings: How onnxruntime is to run.
        starts: How many processes are started, one after the other.

    Raises:
        EdgeError: If the model cannot be loaded or run, or the process is killed.
    """
    taken = [_start_once(model, size, settings or SessionSettings()) for _ in range(starts)]
    return ColdStart(
        import_s=median(one.import_s for one in taken),
        load_s=median(one.load_s for one in taken),
        first_run_s=median(one.first_run_s for one in taken),
        total_s=median(one.total_s for one in taken),
    )


def _start_once(model: Path, size: tuple[int, int], settings: SessionSettings) -> ColdStart:
    # Of all clocks, this one alone is the same in the process that is started.
    start_s = time.monotonic()
    told = ask_fresh_process(
        "runtime_bench.timing.cold_start",
        model,
        purpose="starting it",
        shape=(1, 3, *size),
        settings=replace(settings, profile_path=None),
    )
    imported_s, loaded_s, done_s = (told[name] for name in ("imported_s", "loaded_s", "done_s"))
    return ColdStart(
        import_s=imported_s - start_s,
        load_s=loaded_s - imported_s,
        first_run_s=done_s - loaded_s,
        total_s=done_s - start_s,
    )


def _start(load: Callable[[], Session], shape: tuple[int, ...]) -> Mapping[str, object]:
    import numpy as np

    import runtime_bench.runtime.session  # noqa: F401  (it imports onnxruntime)

    imported_s = time.monotonic()
    session = load()
    loaded_s = time.monotonic()
    session.run(np.full(shape, 0.5, dtype=np.float32))
    return {"imported_s": imported_s, "loaded_s": loaded_s, "done_s": time.monotonic()}


if __name__ == "__main__":
    answer(_start)
