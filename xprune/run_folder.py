"""The folder of a run: its configuration, what each stage left there, and whether it still holds.

A file under its final name is complete. `stages.json` says from which files (by checksum) and
options a stage made what it left, so a later command continues where an earlier one stopped,
and a file that a person edited makes the stages after it run again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import read_json, remove_leftovers, sha256_of, write_json
from xprune.config import AMOUNTS, RunConfig, difference, make_config, options_until

RUN_FILE = "run.json"
STAGES_FILE = "stages.json"
FORMAT = "xprune-edge run"
VERSION = 1


class RunFolder:
    """One run's folder.

    Attributes:
        path: The folder.
        config: The run's configuration.
    """

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self.config = config

    def file(self, name: str) -> Path:
        """Return the path of a file in the folder."""
        return self.path / name

    def is_done(self, stage: str, *, inputs: Sequence[str], outputs: Sequence[str]) -> bool:
        """Whether `stage` left `outputs` from just these inputs and options.

        Args:
            stage: Its name.
            inputs: Files of the folder that it read.
            outputs: Files of the folder that it leaves.
        """
        entry = self._stages().get(stage)
        return (
            isinstance(entry, Mapping)
            and all(self.file(name).exists() for name in (*inputs, *outputs))
            and entry.get("key") == self._key(stage, inputs)
        )

    def mark_done(self, stage: str, *, inputs: Sequence[str]) -> None:
        """Note that `stage` left its outputs; called after they are in place."""
        stages = dict(self._stages())
        stages[stage] = {"key": self._key(stage, inputs), "inputs": list(inputs)}
        write_json(self.file(STAGES_FILE), stages)

    def _stages(self) -> Mapping[str, Any]:
        path = self.file(STAGES_FILE)
        content = read_json(path) if path.exists() else {}
        return content if isinstance(content, dict) else {}

    def _key(self, stage: str, inputs: Sequence[str]) -> str:
        options = self.config.to_json()
        facts = {
            "options": {name: options[name] for name in options_until(stage)},
            "inputs": {name: sha256_of(self.file(name)) for name in inputs},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def open_run(
    path: Path | None, given: Mapping[str, Any], *, stage: str, new: bool = True
) -> RunFolder:
    """Open a run's folder, or begin one.

    Args:
        path: The folder; None for the next free `runs/<model>-<n>`.
        given: The options that were given, by name.
        stage: The last stage that is to run: its options are settled from now on.
        new: Whether a folder that holds no run yet may begin one.

    Raises:
        UsageError: If the folder holds a run with another configuration; the message names the
            options that differ.
        EdgeError: If the folder holds something else.
    """
    if path is None:
        path = next_free(given.get("model") or "builtin")
    settled = _read_run(path)
    if settled is None and not new:
        raise EdgeError(f"{path} holds no run; `xprune-edge attribute --out {path}` begins one")
    settled = settled or {}
    wanted = {name: value for name, value in given.items() if value is not None}
    # An amount that is given replaces another kind of amount, so that the difference is shown.
    kept = {
        name: value
        for name, value in settled.items()
        if name not in AMOUNTS or not any(amount in wanted for amount in AMOUNTS)
    }
    config = make_config({**kept, **wanted})
    values = config.to_json()
    differing = [
        difference(name, values[name], settled[name])
        for name in settled
        if values[name] != settled[name]
    ]
    if differing:
        raise UsageError(
            f"{path} holds a run with another configuration: {'; '.join(differing)}; "
            "choose another --out, or remove the folder"
        )
    names = {*settled, *options_until(stage)}
    write_json(
        path / RUN_FILE,
        {
            "format": FORMAT,
            "version": VERSION,
            "options": {name: values[name] for name in values if name in names},
        },
    )
    remove_leftovers(path)
    return RunFolder(path, config)


def next_free(model: str) -> Path:
    """Return the first `runs/<model>-<n>` that does not exist yet."""
    stem = Path(model).stem or "run"
    number = 1
    while (path := Path("runs") / f"{stem}-{number}").exists():
        number += 1
    return path


def _read_run(path: Path) -> dict[str, Any] | None:
    file = path / RUN_FILE
    if not file.exists():
        if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
            raise EdgeError(f"{path} holds files but no run; choose an empty or new folder")
        if path.exists() and not path.is_dir():
            raise EdgeError(f"{path} is a file; choose a folder for --out")
        return None
    content = read_json(file)
    options = content.get("options") if isinstance(content, dict) else None
    if (
        not isinstance(content, dict)
        or content.get("format") != FORMAT
        or not isinstance(options, dict)
    ):
        raise EdgeError(f"{file} is not a run's configuration; choose another --out")
    if content.get("version") != VERSION:
        raise EdgeError(f"{file} has version {content.get('version')}; choose another --out")
    return options
