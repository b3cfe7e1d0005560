"""Make a study: every architecture's arms once, timed and scored, and the table of all."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from exporters.metadata import package_version
from runtime_bench.errors import UsageError
from runtime_bench.files import remove_leftovers, write_json
from runtime_bench.machine.description import describe_machine
from runtime_bench.progress import track
from xprune.study.arms import arms_of, make_arm
from xprune.study.config import Entry, StudyConfig, entry_problem
from xprune.study.ground import Ground, check_place
from xprune.study.report import write_reports
from xprune.study.result import measured

RESULT_FILE = "study.json"
FORMAT = "xprune-edge study"
VERSION = 1
ARCHITECTURES_FOLDER = "architectures"
PACKAGES = (
    *("xprune-edge", "torch", "torchvision", "ultralytics"),
    *("onnx", "onnxruntime", "onnxsim", "numpy", "pycocotools"),
)


def make_study(
    study: StudyConfig,
    entries: Sequence[Entry],
    folder: Path,
    *,
    root: Path,
    command: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Make what is missing in `folder`, and leave the result.

    Args:
        study: What is asked for.
        entries: The architectures of it that are wanted now.
        folder: New, or of this study.
        root: Where the paths of the study start.
        command: What made it, for the result.
        say: Tells a person, in one line, what is being done.

    Returns:
        What `study.json` holds.

    Raises:
        UsageError: If what is asked for cannot be.
        EdgeError: If a model, data or the folder cannot be used.
    """
    _check(study, entries, folder, root=root, say=say)
    for place in (folder, *folder.rglob("*")):
        if place.is_dir():
            remove_leftovers(place)
    found = []
    for number, entry in enumerate(entries, start=1):
        say(f"{entry.name}, architecture {number} of {len(entries)}")
        ground = Ground(folder / ARCHITECTURES_FOLDER / entry.name, study, entry, root, say)
        ground.settle()
        arms = list(arms_of(study))
        made = [make_arm(ground, arm) for arm in track(arms, label=f"Arms of {entry.name}")]
        found.append(measured(ground, made))
        del ground, made  # a large network's sessions and pictures, before the next one's
        gc.collect()
    content = {
        "format": FORMAT,
        "version": VERSION,
        "command": command,
        "study": study.to_json(),
        "architectures": found,
        "machine": describe_machine(),
        "versions": {name: package_version(name) for name in PACKAGES},
    }
    write_json(folder / RESULT_FILE, content)
    write_reports(folder, content)
    return content


def _check(
    study: StudyConfig,
    entries: Sequence[Entry],
    folder: Path,
    *,
    root: Path,
    say: Callable[[str], None],
) -> None:
    """Raise now what would else be raised after an hour; writes nothing."""
    check_place(folder)
    problems = [problem for entry in entries if (problem := entry_problem(entry, root))]
    if problems:
        raise UsageError("; ".join(problems))
    for entry in entries:
        place = folder / ARCHITECTURES_FOLDER / entry.name
        Ground(place, study, entry, root, say).check()
