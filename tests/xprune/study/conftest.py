"""Small studies: of a tiny network, which is not trained, and of the built-in one, which is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import write_tiny_yaml
from tests.cli.shortcuts import export_once
from xprune.contest import timing
from xprune.study.config import Entry, StudyConfig
from xprune.study.make import make_study


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, scenes_file: Path) -> Path:
    """Where the paths of the study start."""
    folder = tmp_path_factory.mktemp("root")
    write_tiny_yaml(folder)
    (folder / "scenes").symlink_to(scenes_file.parent)
    return folder


TINY = Entry(
    name="tiny",
    model="tiny.yaml",
    weights="none",
    data="scenes/instances.json",
    imgsz=(64, 64),
    images=4,
    calibration_images=4,
)
TRAINED = replace(TINY, name="builtin", model="builtin", weights=None, imgsz=(128, 128))
STUDY = StudyConfig(
    entries=(TINY,),
    ratios=(0.2,),
    seeds=(0, 1),
    own_criterion="fisher",
    own_substitute="affine",
    threads=1,
)
TRAINED_STUDY = replace(
    STUDY, entries=(TRAINED,), criteria=("l1",), modes=("zeroed", "removed"), seeds=(0,)
)


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for a moment only, and export no network twice."""
    export_once(monkeypatch)
    monkeypatch.setattr(timing, "MIN_ROUNDS", 3)
    monkeypatch.setattr(timing, "MIN_TIME_S", 0.0)


def made(study: StudyConfig, folder: Path, root: Path) -> dict[str, Any]:
    """Make a study."""
    return make_study(study, study.entries, folder, root=root, command="make it", say=quiet)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The folder of the finished study; read it, never change it."""
    return _finished(STUDY, tmp_path_factory.mktemp("study") / "out", root)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The folder of a finished study of a trained network; read it, never change it."""
    return _finished(TRAINED_STUDY, tmp_path_factory.mktemp("trained") / "out", root)


def _finished(study: StudyConfig, folder: Path, root: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        export_once(patch)
        patch.setattr(timing, "MIN_ROUNDS", 3)
        patch.setattr(timing, "MIN_TIME_S", 0.0)
        made(study, folder, root)
    return folder
