"""The built-in model through the whole line: what is in the folder, and whether it is true."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import runtime_bench
from runtime_bench.artifact.detections import match_detections
from runtime_bench.artifact.manifest import read_manifest
from runtime_bench.artifact.preprocess import letterbox, read_picture
from runtime_bench.bench.result_file import from_json
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings
from tests.cli.commands import BUILTIN_LITTLE, half_written, run
from xprune.models.families import MODELS
from xprune.models.load import load_detector

FILES = (
    *("scores.json", "plan.json", "pruned.safetensors", "result.json", "summary.json"),
    *("artifact/model.onnx", "artifact/manifest.json", "artifact/report.html"),
)


def read(path: Path) -> Any:
    """Return what a JSON file holds."""
    return json.loads(path.read_text())


def a_picture(folder: Path) -> Path:
    """Return a test picture of the run."""
    return next(iter(sorted(folder.glob("scenes/test-*/images/*.jpg"))))


def test_everything_is_in_the_folder(builtin_run: Path) -> None:
    """Each stage left its file, and nothing is half written."""
    missing = [name for name in FILES if not (builtin_run / name).is_file()]

    assert missing == []
    assert half_written(builtin_run) == []


def test_the_summary_says_what_was_asked_for(builtin_run: Path) -> None:
    """Both sides have the same figures; the removed layers have substitute and reason."""
    summary = read(builtin_run / "summary.json")

    for side in (summary["before"], summary["after"]):
        assert {"ap", "ap50", "latency_s", "parameters", "size_bytes"} <= set(side)
        assert {"p50", "p90", "p99", "max"} <= set(side["latency_s"])
        assert side["latency_s"]["p99"] is None  # far fewer than 1,000 samples
        assert 0 <= side["ap"] <= side["ap50"] <= 1
    assert summary["after"]["parameters"] < summary["before"]["parameters"]
    low, high = summary["speedup_interval"]
    assert low <= summary["speedup"] <= high
    assert len(summary["removed"]) == 2
    assert all(entry["substitute"] and entry["reason"] for entry in summary["removed"])
    assert len(summary["data"]["test"]) == 20
    assert len(summary["data"]["calibration"]) == 8
    assert summary["command"] == "xprune-edge prune-export " + " ".join(
        ["--images", "20", "--calibration-images", "8", "--threads", "1", "--layers", "2"]
    )


def test_the_size_is_that_of_the_file(builtin_run: Path) -> None:
    """What the summary says of the artifact is what lies on disk."""
    summary = read(builtin_run / "summary.json")

    sizes = [
        (builtin_run / folder / "model.onnx").stat().st_size
        for folder in ("unpruned", "artifact")
    ]

    assert [summary[side]["size_bytes"] for side in ("before", "after")] == sizes


def test_the_result_keeps_every_sample(builtin_run: Path) -> None:
    """result.json is a benchmark's result, of the artifact that lies beside it."""
    result = from_json(read(builtin_run / "result.json"))
    manifest = read_manifest(builtin_run / "artifact")

    assert result.artifact.sha256 == manifest.files["model.onnx"].sha256
    assert len(result.latency.timed_s) >= 5
    assert "report.html" in manifest.files


def test_ap_of_the_artifact_is_that_of_the_pytorch_model(
    builtin_run: Path, tmp_path: Path
) -> None:
    """The pruned network, rebuilt and run by PyTorch with the same decoder, has the same AP."""
    from runtime_bench.data.dataset import match_classes, read_dataset
    from tests.reference.cards import raw_manifest
    from xprune.data.batches import read_pictures
    from xprune.data.evaluate import network_accuracy

    detector = load_detector(str(builtin_run / "pruned.safetensors"))
    dataset = read_dataset(builtin_run / "scenes" / "test-20" / "instances.json")
    matched = match_classes(dataset, detector.names)
    assert detector.imgsz is not None
    manifest = raw_manifest(detector.imgsz, detector.names)

    accuracy = network_accuracy(
        MODELS[detector.family].decoded(detector.network),
        matched,
        read_pictures(matched.pictures, manifest.input, label="Reading"),
        manifest,
        quiet=True,
    )

    ap = read(builtin_run / "summary.json")["after"]["ap"]
    assert accuracy.ap == pytest.approx(ap, abs=0.002)


def test_stage_by_stage_leaves_the_same_and_raw_equals_pytorch(
    builtin_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brief: None
) -> None:
    """Single commands leave the same files; the checkpoint alone answers as --raw does."""
    monkeypatch.chdir(tmp_path)
    for stage in (
        ("attribute", *BUILTIN_LITTLE[2:]),
        ("plan", *BUILTIN_LITTLE[:2]),
        ("prune",),
        ("export", "--raw"),
    ):
        done = run(*stage, "--out", "run")
        assert done.exit_code == 0, done.output

    for name in ("scores.json", "plan.json", "data.json"):
        assert (tmp_path / "run" / name).read_bytes() == (builtin_run / name).read_bytes(), name
    shutil.copy(tmp_path / "run" / "pruned.safetensors", tmp_path / "alone.safetensors")
    detector = load_detector("alone.safetensors")
    manifest = read_manifest(tmp_path / "run" / "artifact")
    image = letterbox(read_picture(a_picture(builtin_run)), manifest.input)[0][None]
    session = open_session(
        tmp_path / "run" / "artifact" / "model.onnx", SessionSettings(threads=1)
    )
    (raw,) = session.run(image).values()
    with torch.no_grad():
        wanted = MODELS[detector.family].decoded(detector.network)(torch.from_numpy(image))
    assert manifest.output.kind == "raw"
    np.testing.assert_allclose(raw, wanted.numpy(), rtol=1e-4, atol=2e-3)

    nms, plain = builtin_run / "artifact", tmp_path / "run" / "artifact"
    found, same = (
        runtime_bench.load(artifact, min_score=0.05, threads=1)(a_picture(builtin_run))
        for artifact in (nms, plain)
    )
    match = match_detections(found, same, min_iou=0.99)
    assert len(match.unmatched_a) == 0
    assert len(match.unmatched_b) == 0


def test_other_commands_take_the_result(builtin_run: Path, tmp_path: Path) -> None:
    """predict, inspect and bench work on the artifact, and show what it is."""
    artifact, picture = builtin_run / "artifact", a_picture(builtin_run)
    data = builtin_run / "scenes" / "test-20" / "instances.json"

    drawn = run("predict", artifact, picture, "--out", tmp_path / "drawn", "--conf", "0.01")
    shown = run("inspect", artifact, "--json")
    timed = run(
        *("bench", artifact, "--data", data, "--json", "--threads", "1"),
        *("--min-runs", "2", "--min-time", "0"),
    )

    assert [done.exit_code for done in (drawn, shown, timed)] == [0, 0, 0], timed.output
    (entry,) = json.loads(drawn.stdout)["pictures"]
    assert entry["detections"]
    assert Path(entry["drawn"]).is_file()
    assert json.loads(shown.stdout)["task"] == "detect"
    ap = read(builtin_run / "summary.json")["after"]["ap"]
    assert json.loads(timed.stdout)["accuracy"]["ap"] == pytest.approx(ap, abs=1e-6)


def test_the_artifact_is_a_function_in_python(builtin_run: Path) -> None:
    """`runtime_bench.load(artifact)(picture)` gives boxes inside the picture."""
    detector = runtime_bench.load(builtin_run / "artifact", min_score=0.01)
    pixels = read_picture(a_picture(builtin_run))

    found = detector(pixels)

    height, width = pixels.shape[:2]
    assert len(found) > 0
    assert found.boxes.min() >= 0
    assert (found.boxes <= [width, height, width, height]).all()


@pytest.mark.parametrize("artifact", ["artifact", "unpruned"])
def test_nothing_of_this_machine_is_inside(
    artifact: str, builtin_run: Path, repository: Path
) -> None:
    """No path and no name of the build machine is in the model or its manifest."""
    folder = builtin_run / artifact
    content = (folder / "model.onnx").read_bytes() + (folder / "manifest.json").read_bytes()

    names = [*map(str, (repository, builtin_run, Path.home())), socket.gethostname()]
    # A short name of a machine may well be a part of some word.
    assert [name for name in names if len(name) > 5 and name.encode() in content] == []
    assert re.findall(rb"/(?:home|tmp|root|usr|opt|work)/[\w./-]+", content) == []
    assert b"site-packages" not in content
