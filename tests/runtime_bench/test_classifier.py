"""A classifier through the device's commands: measured, gated and shown like a detector."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime_bench.artifact.manifest import manifest_from_json, manifest_to_json, read_manifest
from runtime_bench.bench.result_file import from_json
from runtime_bench.errors import EdgeError
from tests.reference.tiny_models import write_classifier
from tests.runtime_bench.device_commands import run

BRIEF = ("--threads", "1", "--min-runs", "3", "--min-time", "0")


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """The score of a class is the mean of red, green, or blue."""
    return write_classifier(tmp_path / "classifier")


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Four pictures in folders, one of them in the wrong one."""
    colours = {"red thing/1": "red", "red thing/2": "blue", "green thing/3": "lime"}
    colours["blue thing/4"] = "blue"
    for name, colour in colours.items():
        path = tmp_path / "classes" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (90, 70), colour).save(path)
    return tmp_path / "classes"


def test_bench_says_top_1_and_top_5(classifier: Path, classes: Path, tmp_path: Path) -> None:
    """The stored result comes back, and predictions can be scored elsewhere."""
    out, kept = tmp_path / "result.json", tmp_path / "found.jsonl"
    table = run(
        "bench", classifier, "--data", classes, *BRIEF, "--out", out, "--predictions", kept
    )

    assert table.exit_code == 0, table.output
    assert "top-1" in table.stdout
    assert "0.7500" in table.stdout
    result = from_json(json.loads(out.read_text()))
    accuracy = json.loads(out.read_text())["accuracy"]
    assert result.to_json()["accuracy"] == {**accuracy, "top1_interval": (0.3006, 0.9544)} | {
        "top1_interval": tuple(accuracy["top1_interval"])
    }
    assert (accuracy["top1"], accuracy["top5"]) == (0.75, 1.0)
    assert accuracy["top1_by_class"] == {
        "red thing": 0.5,
        "green thing": 1.0,
        "blue thing": 1.0,
    }
    scored = run("score", kept, "--data", classes, "--json")
    assert json.loads(scored.stdout)["top1"] == 0.75


def test_the_gate_limits_top_1(classifier: Path, classes: Path) -> None:
    """AP is for detectors, and the message says what to use."""
    data = ("--data", classes, "--threads", "1")

    ends = [
        run("gate", classifier, "--min-top1", least, *data).exit_code for least in (0.75, 0.76)
    ]
    dropped = run("gate", classifier, "--reference", classifier, "--max-top1-drop", 0, *data)
    other = run("gate", classifier, "--min-ap", 0.1, *data)

    assert ends == [0, 3]
    assert dropped.exit_code == 0, dropped.output
    assert other.exit_code == 2
    assert "limit --max-top1-drop or --min-top1" in " ".join(other.stderr.split())


def test_labels_of_boxes_are_refused(
    classifier: Path, coco: Path, artifact: str, classes: Path
) -> None:
    """And classes of pictures for a detector."""
    boxes = run("bench", classifier, "--data", coco / "instances.json", *BRIEF)
    whole = run("bench", artifact, "--data", classes, *BRIEF)

    assert (boxes.exit_code, whole.exit_code) == (1, 1)
    assert "its labels are boxes" in boxes.stderr
    assert "its labels are classes of whole pictures" in whole.stderr


def test_predict_shows_the_best_class(classifier: Path, classes: Path, tmp_path: Path) -> None:
    """Its box is what the model looked at: the middle of the picture."""
    out = tmp_path / "drawn"
    done = run(
        "predict",
        classifier,
        classes / "red thing" / "1.png",
        "--out",
        out,
        "--json",
        out / "a.json",
    )

    assert done.exit_code == 0, done.output
    (best,) = json.loads((out / "a.json").read_text())["pictures"][0]["detections"]
    assert (best["name"], best["score"]) == ("red thing", pytest.approx(1.0))
    # 90 x 70 becomes 82 x 64, of which 64 x 32 are seen.
    np.testing.assert_allclose(best["box"], [9.88, 17.5, 80.12, 52.5], atol=0.05)


@pytest.mark.parametrize(
    ("where", "key", "value", "words"),
    [
        ("input", "shorter_px", None, "shorter_px does not fit"),
        ("input", "shorter_px", 63, "shorter_px does not fit"),
        ("input", "antialias", False, "antialias is false, which resize 'crop' never is"),
        ("input", "resize", "letterbox", "antialias is true"),
        ("output", "kind", "raw", "decoder"),
        (None, "task", "detect", "output.kind is none of task 'detect'"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(
    classifier: Path, where: str | None, key: str, value: object, words: str
) -> None:
    """What does not fit together is named."""
    content = json.loads((classifier / "manifest.json").read_text())
    (content[where] if where else content)[key] = value

    with pytest.raises(EdgeError, match=words):
        manifest_from_json(content, source="test")


def test_the_manifest_comes_back(classifier: Path) -> None:
    """Through JSON and back."""
    manifest = read_manifest(classifier)

    assert manifest_from_json(manifest_to_json(manifest), source="test") == manifest
