"""Have a process of its own do something with a model, and answer in JSON.

What it takes, and what it leaves in memory, is then apart from this process; where it is
killed for want of memory, this one lives to say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from runtime_bench.errors import EdgeError
from runtime_bench.runtime.settings import SessionSettings

LONGEST_S = 600.0
# glibc keeps freed blocks below its own, growing limit; what is left over would read as need
# (1.7 to 2.2 times too much). Blocks from 1 MiB on go back to the system at once.
CHILD_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


def ask_fresh(
    module: str, model: Path, settings: SessionSettings, asked: Mapping[str, object]
) -> dict[str, Any]:
    """Run a module in a fresh process, and return what it answers.

    Args:
        module: Its name; it calls `answer` when it is run.
        model: The ONNX file that it loads and runs.
        settings: How onnxruntime is to run there, without a profile.
        asked: What else it is told, as JSON holds it.

    Raises:
        EdgeError: If the process fails, is killed, or takes longer than ten minutes.
    """
    told = {
        "model": str(model.absolute()),
        "settings": asdict(replace(settings, profile_path=None)),
        **asked,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(told),
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
            env={**os.environ, **CHILD_ENVIRONMENT},
            # `-m` imports from the current folder first; here that is where we are installed.
            cwd=Path(__file__).resolve().parents[2],
        )
    except subprocess.TimeoutExpired:
        raise EdgeError(f"{model}: a few runs took over {LONGEST_S:.0f} s") from None
    _check_end(model, done)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def answer(
    compute: Callable[[Path, SessionSettings, dict[str, Any]], Mapping[str, object]],
) -> None:
    """In the fresh process: answer on the standard output what was asked on the input.

    Args:
        compute: Takes the model, how to run it, and the rest of what was asked. Of an
            `EdgeError` only the line goes to the one who asked.
    """
    asked = json.load(sys.stdin)
    model, options = Path(asked.pop("model")), asked.pop("settings")
    options["provider_options"] = tuple(map(tuple, options["provider_options"]))
    try:
        found = compute(model, SessionSettings(**options), asked)
    except EdgeError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    sys.stdout.write(json.dumps(found))


def _check_end(model: Path, done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode < 0:
        raise EdgeError(
            f"{model}: a process that loads and runs it was ended by signal "
            f"{-done.returncode}; the machine may have too little memory"
        )
    if done.returncode > 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EdgeError(f"{model}: a process that loads and runs it failed: {reason}")
