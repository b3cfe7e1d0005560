"""What a frontier was asked for, checked at once, and the folder that belongs to it."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import read_json, write_json
from xprune.config import RECOVERIES, RunConfig, difference, make_config
from xprune.run_folder import checksums

SETTINGS_FILE = "settings.json"
FORMAT = "xprune-edge frontier settings"
VERSION = 1
# Options of every run of a frontier; the others belong to its methods.
SHARED_OPTIONS = (
    "model",
    "weights",
    "data",
    "images_dir",
    "calibration",
    "images",
    "calibration_images",
    "imgsz",
    "regions",
    "conf",
    "seed",
    "threads",
    "skip_bad",
)


@dataclass(frozen=True)
class FrontierSettings:
    """What a frontier was asked for.

    Attributes:
        options: Given options that all its runs share; `imgsz` is that of the unpruned model.
        arms: Methods by name, each with a wanted latency as a share of the unpruned model's.
        recover: How every method wins accuracy back.
        recover_minutes: For how long, where that is a training.
    """

    options: Mapping[str, Any]
    arms: tuple[tuple[str, float], ...]
    recover: str = "distill"
    recover_minutes: float = 5.0

    @property
    def config(self) -> RunConfig:
        """The unpruned model's run: what the options mean, with those that were not given."""
        return make_config(self.options)

    def lasting(self) -> dict[str, Any]:
        """Return as JSON what all arms of one folder have in common.

        What was not given and has no value stays out: a later version may have more options.
        """
        values = self.config.to_json()
        return {
            **{name: values[name] for name in SHARED_OPTIONS if values[name] is not None},
            "recover": self.recover,
            "recover_minutes": self.recover_minutes,
        }

    def command(self, method: str, budget: float, *, program: str) -> str:
        """Return the command that makes one point again, in a folder of its own."""
        words = shlex.split(program)
        for name, value in self.options.items():
            if value is None or value is False:
                continue
            words.append("--" + name.replace("_", "-"))
            if value is not True:
                words.append(
                    "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
                )
        words += ["--recover", self.recover]
        if self.recover not in ("none", "refit"):
            words += ["--recover-minutes", f"{self.recover_minutes:g}"]
        words += [
            "--method",
            method,
            "--budget",
            f"{budget:g}",
            "--out",
            f"{method}-{budget:g}",
        ]
        return shlex.join(words)


@dataclass(frozen=True)
class Identity:
    """What every arm of a folder depends on: options, and checksums of the files they name."""

    options: Mapping[str, Any]
    files: Mapping[str, str]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        facts = json.dumps([dict(self.options), dict(self.files)], sort_keys=True)
        object.__setattr__(self, "digest", hashlib.sha256(facts.encode()).hexdigest())


def check_settings(settings: FrontierSettings, known: Collection[str]) -> None:
    """Raise if budgets or methods are not such.

    Raises:
        UsageError: With everything that is wrong.
    """
    budgets = dict.fromkeys(budget for _, budget in settings.arms)
    problems = [
        f"budget {budget:g} is not a share of the latency above 0 and at most 1"
        for budget in budgets
        if not 0 < budget <= 1
    ]
    unknown = [name for name, _ in settings.arms if name not in known]
    if unknown:
        problems.append(
            f"no method is called '{unknown[0]}'; there are: {', '.join(sorted(known))}"
        )
    if not settings.arms:
        problems.append("say for which latencies: --budget 0.8 is 0.8 of the unpruned model's")
    if settings.recover not in RECOVERIES:
        problems.append(f"recover is '{settings.recover}', not one of {', '.join(RECOVERIES)}")
    if not 0 < settings.recover_minutes <= 100_000:
        problems.append(f"recover_minutes is {settings.recover_minutes:g}, must be above 0")
    if problems:
        raise UsageError("; ".join(problems))


def settle(settings: FrontierSettings, folder: Path) -> Identity:
    """Return what the arms in `folder` depend on, after seeing that it is the same as before.

    The folder is made and marked as this frontier's; more budgets and methods may come later.

    Raises:
        UsageError: If it holds a frontier of another model, other data or other options.
        EdgeError: If it holds something else, or cannot be written.
    """
    identity = Identity(settings.lasting(), checksums(settings.config))
    path = folder / SETTINGS_FILE
    if not path.exists():
        _check_empty(folder)
        write_json(
            path,
            {
                "format": FORMAT,
                "version": VERSION,
                "options": identity.options,
                "files": identity.files,
            },
        )
        return identity
    there = _read(path)
    differing = [
        difference(name, value, there["options"].get(name))
        for name, value in identity.options.items()
        if value != there["options"].get(name)
    ] or [
        f"{name} was changed since"
        for name, digest in identity.files.items()
        if there["files"].get(name, digest) != digest
    ]
    if differing:
        raise UsageError(
            f"{folder} holds another frontier: {'; '.join(differing)}; choose another --out, "
            "or remove the folder"
        )
    return identity


def settings_in(folder: Path) -> dict[str, Any]:
    """Return the options of the frontier in `folder`.

    Raises:
        EdgeError: If there is none.
    """
    path = folder / SETTINGS_FILE
    if not path.exists():
        raise EdgeError(f"{folder} holds no frontier; make one with `xprune-edge frontier`")
    options: dict[str, Any] = _read(path)["options"]
    return options


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that all runs share, None left out."""
    return {
        name: tuple(value) if isinstance(value := options[name], list) else value
        for name in SHARED_OPTIONS
        if options.get(name) is not None
    }


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise EdgeError(f"{folder} is a file; choose a folder for --out")
    if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise EdgeError(f"{folder} holds files but no frontier; choose an empty or new folder")


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    document = content if isinstance(content, dict) else {}
    parts: Sequence[object] = (document.get("options"), document.get("files"))
    if document.get("format") != FORMAT or not all(isinstance(part, dict) for part in parts):
        raise EdgeError(f"{path} does not hold a frontier's settings; choose another --out")
    if document.get("version") != VERSION:
        raise EdgeError(f"{path} has version {document.get('version')}; choose another --out")
    return document
