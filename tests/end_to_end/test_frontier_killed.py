"""A frontier that is killed again and again ends whole, and makes no arm twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import half_written, write_tiny_yaml
from tests.end_to_end.test_killed import PATIENCE_S, polls

# What is there when the blow falls; in the order in which a frontier gets there.
MOMENTS = (
    "settings.json",
    "base/rewrites.json",
    "arms/l1-0.8/run/scores.json",  # in the middle of an arm
    "arms/l1-0.8/arm.json",  # between two arms
    "arms/random-0.8/run/plan.json",
    "timing.json",  # scoring
)
OPTIONS = (
    *("--model", "tiny.yaml", "--weights", "none", "--data", "builtin", "--imgsz", "64"),
    *("--images", "4", "--calibration-images", "4", "--threads", "1", "--recover", "refit"),
    *("--method", "l1", "--method", "random", "--budget", "0.8"),
)
COMMAND = (sys.executable, "-m", "xprune", "frontier", *OPTIONS, "--out", "out")


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
    content = json.loads((tmp_path / "out" / "frontier.json").read_text())
    assert [point["method"] for point in content["points"]] == ["l1", "random"]
