"""`bench` and `score`: what they show and keep, and what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime_bench.accuracy import predictions
from runtime_bench.bench.result_file import from_json
from runtime_bench.files import read_json
from tests.runtime_bench.device_commands import QUICK, run, write_coco


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


def test_predictions_are_scored_elsewhere(artifact: str, coco: Path, tmp_path: Path) -> None:
    """The device has pictures without labels; where the labels are, the AP is the same."""
    found = tmp_path / "found.jsonl"
    run("bench", artifact, "--data", coco / "images", "--predictions", found, *QUICK)

    scored = run("score", found, "--data", coco / "instances.json", "--json")
    there = run("bench", artifact, "--data", coco / "instances.json", "--json", *QUICK)

    assert json.loads(scored.stdout) == json.loads(there.stdout)["accuracy"]
    assert (
        "1.0000 (of 2 pictures, 2 boxes)"
        in run("score", found, "--data", coco / "instances.json").stdout
    )


def test_a_benchmark_goes_on_where_it_was_stopped(
    artifact: str, coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that is in the file is not read again; one that is not, is."""
    found = tmp_path / "found.jsonl"
    data = ("--data", coco / "instances.json", "--predictions", found)
    first = run("bench", artifact, *data, "--images", 1, "--json", *QUICK)
    read: list[str] = []
    seen = predictions.read_picture
    monkeypatch.setattr(
        predictions, "read_picture", lambda path: read.append(path.name) or seen(path)
    )

    second = run("bench", artifact, *data, "--json", *QUICK)
    incomplete = run("score", found, "--data", coco / "instances.json")

    assert first.exit_code == second.exit_code == incomplete.exit_code == 0, second.output
    assert read == ["b.png"]


def test_predictions_that_lack_a_picture_are_refused(
    artifact: str, coco: Path, tmp_path: Path
) -> None:
    """An AP of half the pictures is no AP of all."""
    found = tmp_path / "found.jsonl"
    data = ("--data", coco / "instances.json")
    run("bench", artifact, *data, "--images", 1, "--predictions", found, *QUICK)

    done = run("score", found, *data)

    assert done.exit_code == 1
    assert "no predictions for 1 of 2 pictures, 'b.png' first" in done.stderr


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
        (("--predictions", "x.jsonl"), 2, "--predictions speaks of pictures"),
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
