"""What all tests share: a home of their own, the real data where it is, small pictures."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

HAS_TORCH = importlib.util.find_spec("torch") is not None
NO_TORCH = "torch is not installed: pip install 'xprune-edge[prune]'"

# Their modules import torch at the top, so they cannot even be collected without it.
collect_ignore = [] if HAS_TORCH else ["xprune", "exporters", "end_to_end"]

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

_HOME = pytest.StashKey[Path]()
_LIBRARY_FOLDERS = ("YOLO_CONFIG_DIR", "MPLCONFIGDIR", "TORCH_HOME", "XDG_CACHE_HOME")


def pytest_configure(config: pytest.Config) -> None:
    """Keep every library out of the user's home, off the network, and at two threads.

    Variables and not fixtures: the libraries read them once, when they are first imported, and
    the commands that a test starts inherit them.
    """
    home = Path(tempfile.mkdtemp(prefix="xprune-edge-tests-"))
    config.stash[_HOME] = home
    for name in _LIBRARY_FOLDERS:
        folder = home / name.lower()
        folder.mkdir()
        os.environ[name] = str(folder)
    os.environ.update(
        ORT_DISABLE_TELEMETRY="1",
        YOLO_AUTOINSTALL="False",
        YOLO_OFFLINE="True",
        YOLO_VERBOSE="False",
        MPLBACKEND="Agg",
    )
    os.environ.setdefault("OMP_NUM_THREADS", "2")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the libraries' folders."""
    shutil.rmtree(config.stash[_HOME], ignore_errors=True)


def pytest_report_header() -> list[str]:
    """Say what this run will leave out."""
    data = os.environ.get("XPRUNE_DATA")
    lines = [f"real data: {'XPRUNE_DATA' if data else 'none (XPRUNE_DATA is not set)'}"]
    if not HAS_TORCH:
        lines.append(f"left out: {', '.join(collect_ignore)} ({NO_TORCH})")
    return lines


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `needs_torch` on an install without it."""
    if HAS_TORCH:
        return
    for item in items:
        if item.get_closest_marker("needs_torch"):
            item.add_marker(pytest.mark.skip(reason=NO_TORCH))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the working tree, built by hatchling alone, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with the real pictures and weights; a test that needs it skips without it."""
    named = os.environ.get("XPRUNE_DATA")
    if not named:
        pytest.skip("XPRUNE_DATA is not set: the folder with coco_val, coco_pool, weights, ...")
    folder = Path(named)
    if not (folder / "coco_val" / "instances.json").is_file():
        pytest.skip("XPRUNE_DATA names a folder without coco_val/instances.json")
    return folder


@pytest.fixture(scope="session")
def scenes_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The COCO JSON of 12 built-in scenes, pictures beside it; read it, never change it."""
    # Imported here, so that tests without it stay light.
    from xprune.builtin.scenes import write_scenes

    return write_scenes(tmp_path_factory.mktemp("scenes"), count=12, seed=7)
