"""kill -9 in the middle of every stage: the same command goes on, no file is half written."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import TINY, contents, half_written, write_tiny_yaml
from tests.end_to_end.test_interrupted import assert_readable

# What is there, or was said, when the blow falls; in the order in which a run gets there.
MOMENTS = (
    "run.json",  # attribute: scenes are being drawn
    "data.json",  # attribute: layers are being scored
    "plan.json",  # prune
    "pruned.safetensors",  # recover: pictures are being read
    "recovery.safetensors",  # recover: training
    "recovered.safetensors",  # export: the unpruned model
    "says: Exporting the pruned model",  # export: the pruned model
    "artifact/model.onnx",  # measure: both models
    "says: Timing both models in turn",  # measure: the comparison
    "result.json",  # measure: the report
)
RECOVERY = ("--recover", "distill", "--recover-minutes", "0.05", "--recover-images", "8")
COMMAND = (sys.executable, "-m", "xprune", "prune-export", *TINY, *RECOVERY, "--out", "out")
PATIENCE_S = 120.0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> Path:
    """The working folder, with tiny.yaml; new processes find the packages."""
    write_tiny_yaml(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(repository))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(log: Path) -> subprocess.Popen[bytes]:
    """Start the command; what it says goes to `log`."""
    with log.open("wb") as file:
        return subprocess.Popen(COMMAND, stdout=file, stderr=subprocess.STDOUT)


def has_come(moment: str, place: Path) -> bool:
    """Tell whether the moment is there."""
    if moment.startswith("says: "):
        return moment.removeprefix("says: ") in (place / "log").read_text()
    return (place / "out" / moment).exists()


def polls(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Yield every millisecond while the process runs."""
    end_s = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end_s:
        yield
        try:
            process.wait(0.001)
        except subprocess.TimeoutExpired:
            continue


@pytest.mark.slow
def test_killed_in_the_middle_of_every_stage(place: Path) -> None:
    """One run, killed at each moment in turn; at last it ends, and everything is there."""
    for moment in MOMENTS:
        process = start(place / "log")
        for _ in polls(process):
            if has_come(moment, place):
                break
        process.kill()
        code = process.wait()

        assert code == -9, f"{moment}: {(place / 'log').read_text()}"
        assert has_come(moment, place)
        assert_readable(place / "out")

    end = start(place / "log").wait(PATIENCE_S)

    assert end == 0, (place / "log").read_text()
    assert_readable(place / "out")
    assert half_written(place) == []
    assert {"scores.json", "plan.json", "pruned.safetensors", "result.json"} <= contents(
        place / "out"
    )
    assert {"artifact/model.onnx", "artifact/report.html", "summary.json"} <= contents(
        place / "out"
    )
