"""Importing Ultralytics through us leaves no trace on the machine or in the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

LOOK = """
import json, os, sys
import numpy, torch
from PIL import Image
def state():
    return [torch.save.__module__, Image.open.__module__, numpy.get_printoptions()["linewidth"],
            torch._tensor_str.PRINT_OPTS.linewidth, sorted(os.environ.items())]
before = state()
{action}
print(json.dumps({{"same": before == state(), "printed": 0}}))
"""
OURS = """
from xprune.models.load import load_detector
load_detector("yolov8n", weights="none")
import ultralytics.utils as u
assert not u.AUTOINSTALL and not u.ONLINE and u.SAFE_LOAD
"""


def run(action: str, folder: Path, repository: Path) -> bool:
    """Run the action in a fresh interpreter at home in `folder`; tell if all is as before."""
    kept = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    for name in ("home", "work", "tmp"):
        (folder / name).mkdir()
    environment |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    environment |= {"PYTHONPATH": str(repository), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(action=action)],
        capture_output=True,
        check=True,
        cwd=folder / "work",
        env=environment,
        text=True,
        timeout=120,
    )
    same: bool = json.loads(done.stdout.splitlines()[-1])["same"]
    assert action is not OURS or len(done.stdout.splitlines()) == 1
    return same


def test_nothing_is_left_behind(tmp_path, repository):
    """No file at home, in the working folder or in the temporary one; no patch, no variable."""
    same = run(OURS, tmp_path, repository)

    assert same
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_ultralytics_alone_leaves_traces(tmp_path, repository):
    """The twin of the test above: a plain import writes settings at home and patches torch."""
    same = run("import ultralytics.nn.tasks", tmp_path, repository)

    assert not same
    assert [path.name for path in (tmp_path / "home").rglob("*.json")] == ["settings.json"]
