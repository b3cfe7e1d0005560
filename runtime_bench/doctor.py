"""What this machine has and lacks for our work, without importing what may be broken."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime_bench.machine.description import describe_machine, package_version
from runtime_bench.runtime.providers import PROVIDERS

PROJECT = "xprune-edge"
BASE = "base"
# What a person installs; the extra `dev` is for those who work on the project.
SHOWN_EXTRAS = ("prune",)
PRUNE_PYTHON = (3, 11)

ASK_FOR_PROVIDERS = (
    sys.executable,
    "-c",
    "import json, onnxruntime; print(json.dumps(onnxruntime.get_available_providers()))",
)

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra == ['\"]([^'\"]+)['\"]")


@dataclass(frozen=True)
class Package:
    """A package that we use: which part of the project brings it, and the version installed."""

    name: str
    brought_by: str
    version: str | None


def describe_install() -> dict[str, object]:
    """Return machine, packages, execution providers and, in words, what is lacking."""
    packages = list_packages(_requirements())
    providers, problem = installed_providers()
    lacking = what_is_lacking(packages, python=sys.version_info[:2])
    if problem is not None:
        lacking.append(problem)
    return {
        "machine": describe_machine(),
        "packages": [
            {"name": p.name, "brought_by": p.brought_by, "version": p.version} for p in packages
        ],
        "providers": providers,
        "other_providers": {
            name: provider.comes_with
            for name, provider in PROVIDERS.items()
            if provider.name not in (providers or ())
        },
        "lacking": lacking,
    }


def list_packages(requirements: Sequence[str]) -> list[Package]:
    """Return the packages that the project's metadata asks for, with installed versions.

    Args:
        requirements: Lines such as `torch>=2.9; python_version >= "3.11" and extra == "prune"`.
    """
    packages = []
    for line in requirements:
        name, extra = _NAME.match(line), _EXTRA.search(line)
        brought_by = extra.group(1) if extra else BASE
        if name is not None and brought_by in (BASE, *SHOWN_EXTRAS):
            found = package_version(name.group())
            packages.append(Package(name.group(), brought_by, found))
    return packages


def what_is_lacking(packages: Sequence[Package], *, python: tuple[int, ...]) -> list[str]:
    """Return one line, with what to do, for each part of the project that is not complete."""
    if not packages:
        return [f"{PROJECT} itself is not installed here: run pip install {PROJECT}"]
    lines = []
    for part in (BASE, *SHOWN_EXTRAS):
        missing = [p.name for p in packages if p.brought_by == part and p.version is None]
        if not missing:
            continue
        named = ", ".join(missing)
        if part == BASE:
            lines.append(f"{named}: run pip install {PROJECT}")
        elif python < PRUNE_PYTHON:
            needed = ".".join(map(str, PRUNE_PYTHON))
            lines.append(f"{named}: pruning and export need Python {needed} or newer")
        else:
            lines.append(f"{named}: to prune and export, run pip install '{PROJECT}[{part}]'")
    return lines


def _requirements() -> list[str]:
    try:
        return importlib.metadata.requires(PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def installed_providers(
    *, command: Sequence[str] = ASK_FOR_PROVIDERS
) -> tuple[list[str] | None, str | None]:
    """Return onnxruntime's execution providers, or None and why they are not known.

    Asked in a process of its own: a wheel that was built for another processor does not fail
    to import, it ends the process.
    """
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        cwd=Path(__file__).resolve().parents[1],
    )
    if done.returncode == 0:
        return json.loads(done.stdout), None
    reason = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
    return None, f"onnxruntime cannot be loaded ({reason}): install it again"
