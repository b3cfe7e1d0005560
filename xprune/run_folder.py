"""The folder of a run: its configuration, what each stage left, and whether that still holds.

A file under its final name is complete. `stages.json` says from which files (by checksum) and
options a stage made what it left, so a later command continues where an earlier one stopped,
and a file that a person edited makes the stages after it run again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import read_json, remove_leftovers, sha256_of, write_json
from xprune.config import (
    FILE_OPTIONS,
    MAY_GROW,
    STAGES,
    RunConfig,
    difference,
    make_config,
    merged,
    options_until,
)

RUN_FILE = "run.json"
STAGES_FILE = "stages.json"
# Which input sizes and precisions were looked at, where they were left open.
VARIANTS_FILE = "variants.json"
FORMAT = "xprune-edge run"
VERSION = 1


class RunFolder:
    """One run's folder.

    Attributes:
        path: The folder.
        config: The run's configuration.
        asked: What a person asked for: sizes and precision may be open in it.
        stage: What matters until this stage is settled; None while nothing is made.
    """

    def __init__(
        self,
        path: Path,
        config: RunConfig,
        *,
        stage: str | None = None,
        kept: Mapping[str, Any] | None = None,
        said: frozenset[str] = frozenset(),
        asked: RunConfig | None = None,
    ) -> None:
        self.path = path
        self.config = config
        self.asked = asked or config
        self.stage = stage
        # What earlier commands and this one said, for stages that are still to come as well.
        self._kept = dict(kept or {})
        self._said = said

    def settled(self, config: RunConfig) -> RunFolder:
        """Return the same folder for a configuration in which what was open is settled.

        The stages that are made through it are told apart by that configuration; the run's own
        is written by `settle` of the folder that was opened.
        """
        return RunFolder(self.path, config, stage=self.stage, asked=self.asked)

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

    def has_done(self, stage: str) -> bool:
        """Whether `stage` has left something, whatever it was made from."""
        return stage in self._stages()

    def mark_done(self, stage: str, *, inputs: Sequence[str]) -> None:
        """Note that `stage` left its outputs; called after they are in place."""
        stages = dict(self._stages())
        stages[stage] = {"key": self._key(stage, inputs), "inputs": list(inputs)}
        write_json(self.file(STAGES_FILE), stages)

    def settle(self, stage: str) -> None:
        """Write the run's configuration; what `stage` depends on is refused to change now."""
        self.stage = max(stage, self.stage or stage, key=STAGES.index)
        self._write_run({*self._kept, *self._said, *options_until(self.stage)})
        for folder in (self.path, *self.path.rglob("*")):
            if folder.is_dir():
                remove_leftovers(folder)

    def forget_unmade(self) -> None:
        """Keep what earlier commands said, and what the stages that are done were made with.

        For a command that ended in an error: its request may then be corrected.
        """
        done = [stage for stage in STAGES if self.has_done(stage)]
        self.stage = done[-1] if done else None
        self._write_run(set(options_until(self.stage)) if self.stage else set())

    def _write_run(self, names: Set[str]) -> None:
        values = self.config.to_json()
        options = {**self._kept, **{name: values[name] for name in values if name in names}}
        content = {
            "format": FORMAT,
            "version": VERSION,
            "stage": self.stage,
            "options": options,
            "files": checksums(self.config) if self.stage else {},
        }
        path = self.file(RUN_FILE)
        if not path.exists() or read_json(path) != content:
            write_json(path, content)

    def _stages(self) -> Mapping[str, Any]:
        path = self.file(STAGES_FILE)
        content = read_json(path) if path.exists() else {}
        if not isinstance(content, dict):
            raise EdgeError(f"{path} does not list stages; remove it to have them run again")
        return content

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
    """Open a run's folder, or begin one; nothing is written yet.

    Args:
        path: The folder; None for the run of this configuration that was stopped last, or the
            next free `runs/<model>-<n>`.
        given: The options that were given, by name.
        stage: The last stage that is to run.
        new: Whether a folder that holds no run yet may begin one.

    Raises:
        UsageError: If the folder holds a run with another configuration; the message names the
            options that differ.
        EdgeError: If the folder holds something else, or cannot be written.
    """
    if path is None:
        config = make_config(given)
        path = _stopped(config, stage) or next_free(config.model)
    settled = read_run(path)
    if settled.stage is None and not new:
        raise EdgeError(f"{path} holds no run; `xprune-edge attribute --out {path}` begins one")
    wanted = {name: value for name, value in given.items() if value is not None}
    # An amount that is given replaces another kind of amount, so that the difference is shown.
    config = make_config(merged(settled.options, wanted))
    differing = settled.differences(config)
    if differing:
        raise UsageError(
            f"{path} holds a run with another configuration: {'; '.join(differing)}; "
            "choose another --out, or remove the folder"
        )
    _check_place(path)
    return RunFolder(
        path, config, stage=settled.stage, kept=settled.options, said=frozenset(wanted)
    )


def next_free(model: str) -> Path:
    """Return the first `runs/<model>-<n>` that does not exist yet."""
    number = 1
    while _numbered(model, number).exists():
        number += 1
    return _numbered(model, number)


@dataclass(frozen=True)
class Settled:
    """What a folder's `run.json` says.

    Attributes:
        stage: What matters until this stage is settled; None while nothing is made.
        options: The run's options, by name; those of later stages may still change.
        files: Checksums of the files that options name.
    """

    stage: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)

    def differences(self, config: RunConfig) -> list[str]:
        """Return in words where `config` differs in what is settled."""
        if self.stage is None:
            return []
        values, sums = config.to_json(), checksums(config)
        differing = [
            difference(name, values[name], self.options[name])
            for name in options_until(self.stage)
            if values[name] != self.options.get(name, values[name]) and name not in MAY_GROW
        ]
        return differing or [
            f"{values[name]} was changed since that run began"
            for name, value in self.files.items()
            if sums.get(name, value) != value
        ]


def read_run(path: Path) -> Settled:
    """Return what is settled in a folder; nothing where it is empty or not there.

    Raises:
        EdgeError: If it holds something else than a run.
    """
    file = path / RUN_FILE
    try:
        if not file.exists():
            if path.is_dir() and any(not e.name.startswith(".") for e in path.iterdir()):
                raise EdgeError(f"{path} holds files but no run; choose an empty or new folder")
            if path.exists() and not path.is_dir():
                raise EdgeError(f"{path} is a file; choose a folder for --out")
            return Settled()
    except OSError as error:
        raise EdgeError(
            f"{path} cannot be looked into ({error.strerror}); choose another --out"
        ) from error
    content = read_json(file)
    document = content if isinstance(content, dict) else {}
    if document.get("format") == FORMAT and document.get("version") != VERSION:
        raise EdgeError(f"{file} has version {document.get('version')}; choose another --out")
    settled = Settled(
        document.get("stage"), document.get("options", 0), document.get("files", 0)
    )
    if (
        document.get("format") != FORMAT
        or settled.stage not in (None, *STAGES)
        or not isinstance(settled.options, dict)
        or not isinstance(settled.files, dict)
    ):
        raise EdgeError(f"{file} is not a run's configuration; choose another --out")
    return settled


def _stopped(config: RunConfig, stage: str) -> Path | None:
    """Return the latest numbered folder if this run was stopped there, before `stage`."""
    number = 1
    while _numbered(config.model, number + 1).exists():
        number += 1
    path = _numbered(config.model, number)
    if not (path / RUN_FILE).exists():
        return None
    settled = read_run(path)
    stopped = settled.stage == stage and not RunFolder(path, config).has_done(stage)
    return path if stopped and not settled.differences(config) else None


def _numbered(model: str, number: int) -> Path:
    return Path("runs") / f"{Path(model).stem or 'run'}-{number}"


def checksums(config: RunConfig) -> dict[str, str]:
    """Return the checksum of every file that an option names; folders have none."""
    values = config.to_json()
    paths = {name: Path(str(values[name])) for name in FILE_OPTIONS if values[name]}
    return {name: sha256_of(path) for name, path in paths.items() if path.is_file()}


def _check_place(path: Path) -> None:
    """Raise now, and not after minutes of work, if nothing can be written at `path`."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise EdgeError(f"{place} is a file, so {path} cannot be made; choose another --out")
    if not os.access(place, os.W_OK | os.X_OK):
        raise EdgeError(f"{place} cannot be written; choose another --out")
