"""The device's commands: what they write, where, and with which exit code they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from runtime_bench.cli import COMMANDS, EdgeGroup
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import read_json
from tests.reference.tiny_models import write_classifier
from tests.runtime_bench.device_commands import run


@pytest.mark.parametrize("command", ["bench", "inspect"])
def test_an_artifact_that_is_not_there_is_one_line(command: str, tmp_path: Path) -> None:
    """What, where and what to do, and exit code 1."""
    done = run(command, tmp_path / "none")

    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "none") in done.stderr


def test_predict_draws_and_writes_json(artifact: str, coco: Path, tmp_path: Path) -> None:
    """Boxes are in pixels of the picture, and drawn into a copy under --out."""
    picture = coco / "images" / "a.png"
    out = tmp_path / "drawn"

    done = run("predict", artifact, picture, "--out", out)

    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)["pictures"][0]
    assert answer["drawn"] == str(out / "a.boxes.png")
    assert [found["name"] for found in answer["detections"]] == ["square"]
    np.testing.assert_allclose(answer["detections"][0]["box"], [16, 8, 48, 40])
    with Image.open(out / "a.boxes.png") as drawn:
        assert drawn.size == (128, 64)


def test_predict_writes_json_to_a_file(artifact: str, coco: Path, tmp_path: Path) -> None:
    """With --json FILE the standard output says what was found, in words."""
    pictures = sorted((coco / "images").iterdir())
    target = tmp_path / "boxes.json"

    done = run("predict", artifact, *pictures, "--out", tmp_path / "o", "--json", target)

    assert done.exit_code == 0, done.output
    assert len(json.loads(target.read_text())["pictures"]) == 2
    assert "a.png" in done.stdout
    assert "1 box" in done.stdout


def test_predict_shows_from_a_score_on(artifact: str, coco: Path, tmp_path: Path) -> None:
    """--conf above the score of the only box (200 / 255) leaves none."""
    picture = coco / "images" / "a.png"

    done = run("predict", artifact, picture, "--out", tmp_path / "o", "--conf", 0.8)

    assert json.loads(done.stdout)["pictures"][0]["detections"] == []


def test_predict_leaves_nothing_when_a_picture_is_bad(
    artifact: str, coco: Path, tmp_path: Path
) -> None:
    """The error names the picture, and no other one was drawn."""
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")

    done = run("predict", artifact, coco / "images" / "a.png", bad, "--out", tmp_path / "o")

    assert done.exit_code == 1
    assert "bad.jpg" in done.stderr
    assert not (tmp_path / "o").exists()


def test_predict_does_not_overwrite_a_picture(artifact: str, tmp_path: Path) -> None:
    """A drawn picture that is among the inputs ends it before any work."""
    for name in ("a.png", "a.boxes.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)

    done = run(
        "predict", artifact, tmp_path / "a.png", tmp_path / "a.boxes.png", "--out", tmp_path
    )

    assert done.exit_code == 2
    assert "is a picture to read" in done.stderr


def test_inspect_says_what_a_classifier_is(tmp_path: Path) -> None:
    """How a picture is cropped, and what its scores are; no word of boxes."""
    table = run("inspect", str(write_classifier(tmp_path / "classifier")))

    assert table.exit_code == 0
    assert "shorter side to" in table.stdout
    assert "of each class" in table.stdout
    assert "boxes" not in table.stdout


def test_inspect_says_what_an_artifact_is(artifact: str) -> None:
    """As a table for a person, as JSON the manifest itself."""
    table = run("inspect", artifact)
    content = json.loads(run("inspect", artifact, "--json").stdout)

    assert "2: disc, square" in table.stdout
    assert "32 x 64 px" in table.stdout
    written = read_json(Path(artifact) / "manifest.json")
    assert written["version"] == 1  # from before there were precisions
    assert content == {
        **written,
        "version": 4,
        "precision": "float32",
        "pictures": [],
        "input": {**written["input"], "shorter_px": None},
    }


def test_doctor_speaks_of_this_machine() -> None:
    """Cores, memory and providers are there, in both forms."""
    table = run("doctor")
    content = json.loads(run("doctor", "--json").stdout)

    assert table.exit_code == 0
    assert "CPUExecutionProvider" in table.stdout
    assert content["machine"]["cores_logical"] >= 1


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_help_has_examples(name: str) -> None:
    """--help ends with a command line that can be copied."""
    done = run(name, "--help")

    assert done.exit_code == 0
    assert f"xprune-edge {name}" in done.stdout


def group_that(action: Callable[[], None]) -> click.Group:
    """Return a group with one command that does `action`."""
    return EdgeGroup(commands={"go": click.Command("go", callback=action)})


def raising(error: BaseException) -> Callable[[], None]:
    """Return a function that raises `error`."""

    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (EdgeError("a is wrong;\n do b"), 1, "Error: a is wrong; do b\n"),
        (UsageError("no such thing"), 2, "Error: no such thing\n"),
        (KeyboardInterrupt(), 130, "Interrupted\n"),
    ],
)
def test_the_boundary_turns_errors_into_a_line_and_a_code(
    error: BaseException, code: int, text: str
) -> None:
    """One line on the standard error output, nothing on the other."""
    done = CliRunner().invoke(group_that(raising(error)), ["go"])

    assert done.exit_code == code
    assert done.stderr == text
    assert done.stdout == ""


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), ValueError("bug")])
def test_the_boundary_hides_no_bug(error: Exception) -> None:
    """What is not for the user to act on keeps its traceback."""
    done = CliRunner().invoke(group_that(raising(error)), ["go"])

    assert done.exception is error


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes as POSIX has them")
def test_a_reader_that_leaves_gets_no_traceback(artifact: str, repository: Path) -> None:
    """`inspect --json | head -0` is quiet."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "runtime_bench", "inspect", artifact, "--json"],
            cwd=repository,
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write_end)

    assert "Traceback" not in done.stderr
