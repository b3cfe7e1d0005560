"""Places that cannot be written, and disks that are full: one line, nothing half written."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime_bench.artifact.manifest import read_manifest
from tests.cli.commands import TINY, contents, error_line, half_written, run

pytestmark = pytest.mark.needs_torch

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a file system in memory with these options, for as long as the test runs."""
    mounted: list[Path] = []

    def mount_at(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no command `mount` here")
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount_at
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("command", ["prune-export", "attribute"])
def test_a_read_only_mount_is_said_before_any_work(
    command: str, mount: Mount, place: Path
) -> None:
    """The line names the place; nothing was scored, and nothing is there."""
    disk = mount("ro,size=1m")

    done = run(command, *TINY, "--out", disk / "runs" / "a")

    message = error_line(done)
    assert f"{disk} cannot be written" in message
    assert "choose another --out" in message
    assert "Beginning" not in done.stderr
    assert list(disk.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_someone_else_is_said_before_any_work(place: Path) -> None:
    """The same for a folder without permission."""
    (place / "theirs").mkdir(mode=0o500)

    done = run("prune-export", *TINY, "--out", "theirs/a")

    assert "theirs cannot be written" in error_line(done)


def test_predict_on_a_read_only_mount(mount: Mount, place: Path) -> None:
    """A drawing that cannot be written is an error that names it."""
    disk = mount("ro,size=1m")

    done = run("predict", "artifact", "scenes/images/000000.jpg", "--out", disk / "drawn")

    assert "read-only file system" in error_line(done)


@pytest.mark.parametrize("size", ["64k", "192k", "448k"])
def test_a_full_disk_leaves_only_whole_files(
    size: str, mount: Mount, place: Path, brief: None
) -> None:
    """Wherever the disk fills up, the line says so, and what is there is complete."""
    disk = mount(f"size={size}")

    done = run("prune-export", *TINY, "--out", disk / "a")

    message = error_line(done)
    assert "no space left on device" in message
    assert "free some space" in message
    assert_whole(disk)


def test_a_disk_that_fills_at_any_write_leaves_only_whole_files(
    place: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write after write fails once; each time the next command goes on, to the end at last."""
    sync = os.fsync
    written = 0
    allowed = 0

    def fail_at_last(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written > allowed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_at_last)
    errors = 0
    while (done := run("prune-export", *TINY, "--out", "out")).exit_code:
        assert "no space left on device" in error_line(done)
        assert_whole(place)
        errors += 1
        written, allowed = 0, allowed + 3
        assert errors < 40

    assert errors > 5
    assert {"scores.json", "artifact/model.onnx", "summary.json"} <= contents(place / "out")


def assert_whole(folder: Path) -> None:
    """Check every file below `folder` by reading it."""
    assert half_written(folder) == []
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    for path in folder.rglob("model.onnx"):
        read_manifest(path)
