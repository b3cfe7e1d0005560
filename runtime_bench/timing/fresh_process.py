"""Run a model in a process of its own, for what a process that has run already cannot tell."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime_bench.errors import EdgeError
from runtime_bench.runtime.settings import SessionSettings

if TYPE_CHECKING:
    from runtime_bench.runtime.session import Session

LONGEST_S = 600.0


def ask_fresh_process(
    module: str,
    model: Path,
    *,
    purpose: str,
    shape: tuple[int, ...],
    settings: SessionSettings,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a module of ours in a fresh process, and return what it answers.

    Args:
        module: Its name; it calls `answer`.
        model: The ONNX file.
        purpose: What is being done, for error messages: "measuring its memory".
        shape: Of the input.
        settings: How onnxruntime is to run.
        environment: What is added to this process's variables.

    Raises:
        EdgeError: If the model cannot be loaded or run, or the process is killed.
    """
    asked = {"model": str(model.absolute()), "shape": shape, "settings": asdict(settings)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
            env={**os.environ, **(environment or {})},
            # `-m` imports from the current folder first; here that is where we are installed.
            cwd=Path(__file__).resolve().parents[2],
        )
    except subprocess.TimeoutExpired:
        raise EdgeError(f"{model}: {purpose} took over {LONGEST_S:.0f} s") from None
    if done.returncode < 0:
        raise EdgeError(
            f"{model}: {purpose} was ended by signal {-done.returncode}; "
            "the machine may have too little memory"
        )
    if done.returncode > 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EdgeError(f"{model}: {purpose} failed: {reason}")
    answered: dict[str, Any] = json.loads(done.stdout)
    return answered


def answer(
    task: Callable[[Callable[[], Session], tuple[int, ...]], Mapping[str, object]],
) -> None:
    """In the fresh process: do the task that was asked for, and write what it returns.

    Args:
        task: Takes what opens the session, and the shape of the input.
    """
    asked = json.load(sys.stdin)
    options = asked["settings"]
    options["provider_options"] = tuple(map(tuple, options["provider_options"]))

    def load() -> Session:
        from runtime_bench.runtime.session import open_session

        return open_session(Path(asked["model"]), SessionSettings(**options))

    try:
        answered = task(load, tuple(asked["shape"]))
    except EdgeError as error:
        argparse.ArgumentParser().exit(1, f"{error}\n")
    sys.stdout.write(json.dumps(answered))
