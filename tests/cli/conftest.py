"""Places to start the command in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.commands import write_tiny_yaml
from tests.cli.shortcuts import export_once, measure_briefly


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenes_file: Path, repository: Path
) -> Path:
    """The working folder: scenes/instances.json (12 pictures), tiny.yaml, and an artifact."""
    shutil.copytree(scenes_file.parent, tmp_path / "scenes")
    shutil.copytree(repository / "tests" / "data" / "tiny_artifact", tmp_path / "artifact")
    write_tiny_yaml(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export no network twice, and do not time for long."""
    export_once(monkeypatch)
    measure_briefly(monkeypatch)
