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
from click.testing import CliRunner, Result
from PIL import Image

from runtime_bench.bench.result_file import from_json
from runtime_bench.cli import COMMANDS, EdgeGroup, main
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import read_json

QUICK = ("--min-runs", "2", "--min-time", "0", "--threads", "1")


@pytest.fixture
def artifact(repository: Path) -> str:
    """A detector that always finds one "square", with the mean of red as its score."""
    return str(repository / "tests" / "data" / "tiny_artifact")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A COCO set of two pictures, labelled as the artifact will answer."""
    folder = tmp_path / "coco"
    (folder / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (128, 64), (200, 0, 0)).save(folder / "images" / name)
    write_coco(folder, bbox=[16, 8, 32, 32])
    return folder


def write_coco(folder: Path, *, bbox: list[float]) -> None:
    """Write the JSON; the box of the second picture is `bbox`."""
    images = [
        {"id": index, "file_name": name, "height": 64, "width": 128}
        for index, name in enumerate(("a.png", "b.png"))
    ]
    annotations = [
        {"id": index, "image_id": index, "category_id": 4, "bbox": box}
        for index, box in enumerate(([16, 8, 32, 32], bbox))
    ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 4, "name": "square"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))


def run(*arguments: object) -> Result:
    """Run the command with arguments, outputs apart."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_bench_shows_a_table_and_keeps_the_result(
    artifact: str, coco: Path, tmp_path: Path
) -> None:
    """The file holds all samples; the table has the accuracy."""
    out = tmp_path / "new" / "result.json"

    done = run("bench", artifact, "--data", coco / "instances.json", "--out", out, *QUICK)

    assert done.exit_code == 0, done.output
    assert "1.0000 (of 2 pictures, 2 boxes)" in done.stdout
    assert len(from_json(read_json(out)).latency.timed_s) == 2


def test_bench_writes_json_alone(artifact: str) -> None:
    """With --json the standard output can be piped."""
    done = run("bench", artifact, "--json", *QUICK)

    assert done.exit_code == 0, done.output
    assert from_json(json.loads(done.stdout)).latency_input == "grey and noise"


def test_bench_keeps_to_processors_and_counts_streams(artifact: str) -> None:
    """What was asked for is in the result, with what it gave."""
    first = min(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "runtime_bench", "bench", artifact, "--json", *QUICK]
    asked = ["--cpus", first, "--streams", 2, "--no-spinning"]

    done = subprocess.run(
        [*map(str, [*command, *asked])], capture_output=True, text=True, check=True
    )

    result = from_json(json.loads(done.stdout))
    assert result.machine["processors"] == str(first)
    assert result.threads == 1
    assert not result.settings.spinning
    assert result.throughput is not None
    assert result.throughput.streams == 2
    assert result.throughput.per_second > 0


def test_a_profile_is_shown_and_kept(artifact: str) -> None:
    """Two tables after the first; in JSON every node."""
    shown = run("bench", artifact, "--profile", *QUICK)
    kept = run("bench", artifact, "--profile", "--json", *QUICK)

    assert "operation" in shown.stdout
    assert "ReduceMean" in shown.stdout
    profile = from_json(json.loads(kept.stdout)).profile
    assert profile is not None
    assert "ReduceMean" in profile.by_op_type
    assert profile.run_s > 0


def test_bench_times_any_onnx_file(artifact: str, tmp_path: Path) -> None:
    """Without a manifest and without notes: inputs are made up, and that is said."""
    model = tmp_path / "other.onnx"
    model.write_bytes((Path(artifact) / "model.onnx").read_bytes())

    shown = run("bench", model, *QUICK)
    kept = run("bench", model, "--shape", "images=1x3x32x64", "--json", *QUICK)
    scored = run("bench", model, "--data", tmp_path, *QUICK)

    assert shown.exit_code == 0, shown.output
    assert "of inputs made up from their shapes" in shown.stdout
    result = from_json(json.loads(kept.stdout))
    assert result.settings.shapes == (("images", (1, 3, 32, 64)),)
    assert (result.artifact.model_name, result.artifact.output) == ("other", "unknown")
    assert scored.exit_code == 1


def test_sustained_is_ten_minutes(artifact: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No less, whatever --min-time says; here the ten minutes are 50 ms."""
    monkeypatch.setattr("runtime_bench.cli.SUSTAINED_S", 0.05)

    done = run("bench", artifact, "--sustained", "--json", *QUICK)

    result = from_json(json.loads(done.stdout))
    assert result.settings.min_time_s == 0.05
    assert sum(result.latency.timed_s) >= 0.05


def test_bench_takes_the_first_pictures(artifact: str, coco: Path) -> None:
    """--images 1 uses one of two."""
    data = ("--data", coco / "instances.json")
    done = run("bench", artifact, *data, "--images", 1, "--json", *QUICK)

    assert json.loads(done.stdout)["data"]["pictures"] == ["a.png"]


def test_bench_skips_what_is_bad_when_told(artifact: str, coco: Path) -> None:
    """A box outside ends it with 1; with --skip-bad it is listed in table and file."""
    write_coco(coco, bbox=[100, 8, 320, 32])
    data = ("--data", coco / "instances.json")

    stopped = run("bench", artifact, *data, *QUICK)
    skipped = run("bench", artifact, *data, "--skip-bad", "--json", *QUICK)

    assert stopped.exit_code == 1
    assert "a box outside the picture" in stopped.stderr
    assert skipped.exit_code == 0, skipped.output
    assert "outside the picture" in json.loads(skipped.stdout)["data"]["skipped"][0]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--images", 3), 2, "--images speaks of pictures"),
        (("--split", "test"), 2, "--split speaks of pictures"),
        (("--images-dir", "x"), 2, "--images-dir speaks of pictures"),
        (("--data", "nowhere.json"), 1, "nowhere.json: no such file or folder"),
        (("--threads", 0), 2, "--threads"),
        (("--min-runs", 1), 2, "--min-runs"),
        (("--min-time", "nan"), 2, "--min-time"),
        (("--streams", 0), 2, "--streams"),
        (("--shape", "1x3"), 2, "fixes its input; leave --shape out"),
        (("--shape", "1x3x0x8"), 2, "write 1x3x640x640"),
        (("--shape", "1x3x*x8"), 2, "write 1x3x640x640"),
        (("--cpus", "all"), 2, "write 0-3 or 4,6"),
        (("--cpus", "3-1"), 2, "names no processor"),
        (("--cpus", "9999"), 2, "processor 9999 is not among those that may be used here"),
    ],
)
def test_bench_refuses_what_cannot_be(
    artifact: str, arguments: tuple[object, ...], code: int, message: str
) -> None:
    """Wrong usage ends with 2, a wrong file with 1, nothing with a traceback."""
    done = run("bench", artifact, *arguments)

    assert done.exit_code == code
    assert message in done.stderr
    assert done.stdout == ""


def test_bench_wants_as_many_pictures_as_there_are(artifact: str, coco: Path) -> None:
    """More than there are is not silently fewer."""
    done = run("bench", artifact, "--data", coco / "instances.json", "--images", 3)

    assert done.exit_code == 2
    assert "--images is 3" in done.stderr


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


def test_inspect_says_what_an_artifact_is(artifact: str) -> None:
    """As a table for a person, as JSON the manifest itself."""
    table = run("inspect", artifact)
    content = json.loads(run("inspect", artifact, "--json").stdout)

    assert "2: disc, square" in table.stdout
    assert "32 x 64 px" in table.stdout
    written = read_json(Path(artifact) / "manifest.json")
    assert written["version"] == 1  # from before there were precisions
    assert content == {**written, "version": 2, "precision": "float32"}


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
