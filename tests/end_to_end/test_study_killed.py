"""A study that is killed again and again ends whole, and makes no arm twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import half_written, write_tiny_yaml
from tests.end_to_end.test_killed import PATIENCE_S, polls

# What is there when the blow falls; in the order in which a study gets there.
TINY = "architectures/tiny"
MOMENTS = (
    f"{TINY}/settings.json",
    f"{TINY}/seeds/0/scores.json",  # in the middle of an arm
    f"{TINY}/arms/l1-zeroed-0.2-0.json",  # between two arms
    f"{TINY}/arms/l1-removed-0.2-0.json",
    "architectures/builtin/settings.json",  # between two architectures
    "architectures/builtin/timing.json",  # scoring
)
STUDY = """
criteria = ["l1"]
modes = ["zeroed", "removed"]
ratios = [0.2]
threads = 1
images = 4
calibration_images = 4
imgsz = 64
timing_seconds = 0.2
[[architectures]]
model = "tiny.yaml"
weights = "none"
[[architectures]]
model = "builtin"
"""
COMMAND = (sys.executable, "-m", "xprune", "study", "study.toml", "--out", "out")


def start(log: Path) -> subprocess.Popen[bytes]:
    """Start the command; what it says goes to `log`."""
    with log.open("wb") as file:
        return subprocess.Popen(COMMAND, stdout=file, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_killed_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    """The same command goes on; an arm that was whole is not begun again."""
    write_tiny_yaml(tmp_path)
    (tmp_path / "study.toml").write_text(STUDY)
    monkeypatch.setenv("PYTHONPATH", str(repository))
    monkeypatch.chdir(tmp_path)
    for moment in MOMENTS:
        process = start(tmp_path / "log")
        for _ in polls(process):
            if (tmp_path / "out" / moment).exists():
                break
        process.kill()
        code = process.wait()

        assert code == -9, f"{moment}: {(tmp_path / 'log').read_text()}"
        assert (tmp_path / "out" / moment).exists()

    end = start(tmp_path / "log").wait(PATIENCE_S)

    said = (tmp_path / "log").read_text()
    assert end == 0, said
    assert "Making" not in said
    assert half_written(tmp_path) == []
    content = json.loads((tmp_path / "out" / "study.json").read_text())
    assert [one["name"] for one in content["architectures"]] == ["tiny", "builtin"]
    assert "ap" in content["architectures"][1]["arms"][0]
