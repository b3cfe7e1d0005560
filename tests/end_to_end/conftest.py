"""Runs that several tests look at; whoever changes one works on a copy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.cli.commands import BUILTIN_LITTLE, TINY, run, write_tiny_yaml
from tests.cli.shortcuts import export_once, measure_briefly


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export no network twice, and do not time for long."""
    export_once(monkeypatch)
    measure_briefly(monkeypatch)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny.yaml and `out`, the finished run of `TINY`."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_yaml(folder)
    _finish(folder, *TINY)
    return folder


@pytest.fixture(scope="session")
def builtin_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run of the built-in model with `BUILTIN`."""
    folder = tmp_path_factory.mktemp("builtin")
    _finish(folder, *BUILTIN_LITTLE)
    return folder / "out"


@pytest.fixture
def work(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder with tiny.yaml and `out`, as the working folder."""
    folder = tmp_path / "work"
    shutil.copytree(tiny_run, folder)
    monkeypatch.chdir(folder)
    return folder


def _finish(folder: Path, *options: str) -> None:
    started_in = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        export_once(patch)
        measure_briefly(patch)
        done = run("prune-export", *options, "--out", "out")
    assert done.exit_code == 0, done.output
    os.chdir(started_in)
