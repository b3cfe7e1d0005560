"""An arm: one method at one budget, made once in a folder of its own.

`arm.json` is written last, so an arm whose file is there is whole; what a stopped one left is
gone on from by whoever left it (a run's stages, a recovery's state).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runtime_bench.artifact.manifest import MODEL_FILE
from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, sha256_of, write_json
from xprune.frontier.ground import Ground

ARM_FILE = "arm.json"
ARMS_FOLDER = "arms"
FORMAT = "xprune-edge frontier arm"
VERSION = 1


@dataclass(frozen=True)
class Made:
    """One artifact that a method made for a budget.

    Attributes:
        artifact: Its folder.
        imgsz: Input (height, width) in pixels.
        precision: `float32`, `float16` or `int8`.
        removed: What was taken out or changed, one entry each.
        plan: By what, as pairs (layer, substitute), where that is a plan of ours.
        recovered: What the recovery reports of itself.
        more: What else a reader should know.
    """

    artifact: Path
    imgsz: tuple[int, int]
    precision: str = "float32"
    removed: Sequence[Mapping[str, Any]] = ()
    plan: Sequence[Sequence[str]] = ()
    recovered: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


Build = Callable[[Ground, float, Path], Sequence[Made]]


@dataclass(frozen=True)
class Method:
    """A way to make a detector faster.

    Attributes:
        label: What it is, in a few words.
        build: Makes its artifacts for a budget in a folder that it may find half done; an
            `EdgeError` says why there is none.
        facts: What its result depends on besides the frontier's settings, as JSON.
    """

    label: str
    build: Build
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """A method's artifacts for a budget, or why there are none."""

    method: str
    budget: float
    made: tuple[Made, ...]
    seconds: float
    error: str | None = None


def make_arm(ground: Ground, name: str, method: Method, budget: float) -> Arm:
    """Return a method's arm, made now unless it is there already and whole."""
    folder = ground.folder / ARMS_FOLDER / folder_name(name, budget)
    key = _key(ground, name, method, budget)
    there = _read(folder, key)
    if there is not None:
        return there
    _clear_unlike(folder, key)
    ground.say(f"Making {name} for {budget:g} of the latency")
    start_s = time.monotonic()
    made: tuple[Made, ...] = ()
    error = None
    try:
        made = tuple(method.build(ground, budget, folder))
    except EdgeError as fault:
        error = " ".join(str(fault).split())
        ground.say(f"{name} for {budget:g}: {error}")
    arm = Arm(name, budget, made, time.monotonic() - start_s, error)
    write_json(folder / ARM_FILE, _to_json(arm, key, ground.folder))
    return arm


def folder_name(method: str, budget: float) -> str:
    """Return what an arm's folder is called."""
    return f"{method}-{budget:g}"


def _key(ground: Ground, name: str, method: Method, budget: float) -> str:
    facts = [ground.identity.digest, name, dict(method.facts), budget]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _clear_unlike(folder: Path, key: str) -> None:
    """Empty an arm's folder unless it was begun for the same; note for what it is now."""
    begun = folder / "key.txt"
    if folder.is_dir() and (not begun.exists() or begun.read_text() != key):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    begun.write_text(key)


def _to_json(arm: Arm, key: str, root: Path) -> dict[str, object]:
    made = [
        {
            **asdict(one),
            "artifact": one.artifact.relative_to(root).as_posix(),
            "sha256": sha256_of(one.artifact / MODEL_FILE),
        }
        for one in arm.made
    ]
    return {
        "format": FORMAT,
        "version": VERSION,
        "key": key,
        "method": arm.method,
        "budget": arm.budget,
        "seconds": arm.seconds,
        "error": arm.error,
        "made": made,
    }


def _read(folder: Path, key: str) -> Arm | None:
    """Return the arm in `folder` if it is whole, was made for the same, and is untouched."""
    path = folder / ARM_FILE
    if not path.exists():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or content.get("key") != key:
        return None
    root = folder.parent.parent
    try:
        return _from_json(content, root)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EdgeError(f"{path} is damaged ({error}); remove {folder}") from error


def _from_json(content: Mapping[str, Any], root: Path) -> Arm | None:
    made = []
    for entry in content["made"]:
        artifact = (root / str(entry["artifact"])).resolve()
        if not artifact.is_relative_to(root.resolve()):
            raise ValueError("it names an artifact outside the frontier")
        model = artifact / MODEL_FILE
        if not model.is_file() or sha256_of(model) != entry["sha256"]:
            return None
        height, width = entry["imgsz"]
        made.append(
            Made(
                artifact=root / str(entry["artifact"]),
                imgsz=(int(height), int(width)),
                precision=str(entry["precision"]),
                removed=list(entry["removed"]),
                plan=list(entry["plan"]),
                recovered=dict(entry["recovered"]),
                more=dict(entry["more"]),
            )
        )
    error = content["error"]
    return Arm(
        method=str(content["method"]),
        budget=float(content["budget"]),
        made=tuple(made),
        seconds=float(content["seconds"]),
        error=None if error is None else str(error),
    )
