"""Classifiers go the whole line by the same commands as detectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from runtime_bench.artifact.detector import load
from runtime_bench.artifact.preprocess import prepare, read_picture
from tests.cli.commands import run
from xprune.models.families import MODELS
from xprune.models.files.checkpoint import read_checkpoint
from xprune.models.load import load_detector

CLASSES = ("ant", "bee", "wasp")
SMALL = [
    ("resnet20_cifar", 32),
    ("resnet18", 64),
    ("mobilenet_v2", 64),
    ("shufflenet_v2_x0_5", 64),
]
NARROW = ("resnet20_cifar", "shufflenet_v2_x0_5")
# Up to a minute each on one core.
LARGE = [("resnet50", 64), ("shufflenet_v2_x1_0", 64)]
# Like those above, or with over 60 million weights in their last layers.
HEAVY = [
    ("resnet34", 64),
    ("resnet56_cifar", 32),
    ("alexnet", 64),
    ("vgg16", 64),
    ("vgg16_bn", 64),
]
MATRIX = [
    *SMALL,
    *(pytest.param(*one, marks=pytest.mark.slow) for one in LARGE),
    *(pytest.param(*one, marks=[pytest.mark.slow, pytest.mark.heavy]) for one in HEAVY),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each class with pictures of its colour, and noise on them."""
    folder = tmp_path_factory.mktemp("insects")
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for index in range(12):
            pixels = rng.integers(0, 120, (40 + index, 50, 3), np.uint8)
            pixels[..., label] += 120
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


@pytest.mark.parametrize(("name", "side"), MATRIX)
def test_a_classifier_goes_the_whole_line(
    name: str, side: int, pictures: Path, tmp_path: Path, brief: None, monkeypatch
) -> None:
    """Listed, scored, planned, cut, exported, measured; the file answers as PyTorch does."""
    monkeypatch.chdir(tmp_path)
    model = ("--model", name, "--weights", "none", "--imgsz", str(side))
    options = ("--data", str(pictures), "--calibration-images", "8", "--layers", "2")
    if name not in NARROW:  # richer substitutes of 512 channels take minutes to solve
        options = (*options, "--substitute", "linear")
    ends = [
        run("layers", *model),
        run("attribute", *model, *options, "--threads", "1", "--out", "out"),
        *(run(stage, "--out", "out") for stage in ("plan", "prune", "export")),
        run("bench", "out/artifact", "--data", str(pictures), "--threads", "1"),
    ]
    assert [done.exit_code for done in ends] == [0] * len(ends), ends[-1].output

    manifest = json.loads((tmp_path / "out/artifact/manifest.json").read_text())
    assert (manifest["task"], manifest["output"]["kind"]) == ("classify", "scores")
    assert manifest["output"]["names"] == ["scores"]
    assert manifest["input"]["resize"] == "crop"
    assert len(manifest["provenance"]["removed"]) == 2
    graph = onnx.load(tmp_path / "out/artifact/model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    for kind in ("unpruned", "artifact"):
        assert_same_as_pytorch(tmp_path / "out", kind, pictures, model)


def assert_same_as_pytorch(
    out: Path, kind: str, pictures: Path, model: tuple[str, ...]
) -> None:
    """Compare an artifact's scores with those of the network that it was made from."""
    if kind == "artifact":
        detector = load_detector(str(out / "pruned.safetensors"))
    else:
        detector = load_detector(model[1], weights="none", names=CLASSES)
    artifact = load(out / kind, threads=1, min_score=0.0)
    decoded = MODELS["classifier"].decoded(detector.network)
    for name in CLASSES:
        path = pictures / name / "0.png"
        image, _ = prepare(read_picture(path), artifact.manifest.input)
        with torch.no_grad():
            wanted = decoded(torch.from_numpy(image)[None])[0].numpy()
        found = artifact(path)
        np.testing.assert_allclose(found.scores, wanted[found.labels], atol=1e-3)


def test_a_report_speaks_of_classes(
    pictures: Path, tmp_path: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures are top-1 and top-5, in the summary, the report and on the terminal."""
    monkeypatch.chdir(tmp_path)
    done = run(
        *("prune-export", "--model", "resnet20_cifar", "--weights", "none"),
        *("--data", str(pictures), "--calibration-images", "8", "--layers", "2"),
        *("--threads", "1", "--out", "out"),
    )

    assert done.exit_code == 0, done.output
    assert "top-1" in done.output
    assert "AP" not in done.output
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["task"] == "classify"
    assert 0 <= summary["after"]["top1"] <= summary["after"]["top5"] == 1
    report = (tmp_path / "out/artifact/report.html").read_text()
    assert "Top-1" in report
    assert "AP50" not in report


def test_pictures_to_score_on_need_no_classes(
    pictures: Path, tmp_path: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a plain folder the network's own best class counts."""
    monkeypatch.chdir(tmp_path)
    done = run("attribute", *unlabelled(pictures, tmp_path), "--out", "out")

    assert done.exit_code == 0, done.output
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert scores["targets"] == "own classes"


@pytest.mark.slow
@pytest.mark.heavy
def test_a_size_is_chosen_for_a_classifier(
    pictures: Path, tmp_path: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of squares, since pictures are cropped to their middle."""
    monkeypatch.chdir(tmp_path)
    size = ("--imgsz", "auto", "--base-imgsz", "32", "--speedup", "1.3")
    done = run("prune-export", *unlabelled(pictures, tmp_path), *size, "--out", "out")

    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out/variants.json").read_text())["variants"]
    assert len(found) > 1
    assert all(len(set(entry["variant"]["size"])) == 1 for entry in found)


def unlabelled(pictures: Path, folder: Path) -> tuple[str, ...]:
    """Return options of a run that is scored on a plain folder of other pictures."""
    (folder / "plain").mkdir()
    for path in pictures.glob("*/[0-7].png"):
        pixels = np.asarray(Image.open(path))[::-1]
        Image.fromarray(pixels).save(folder / "plain" / f"{path.parent.name}-{path.name}")
    return (
        *("--model", "resnet20_cifar", "--weights", "none", "--data", str(pictures)),
        *("--calibration", "plain", "--calibration-images", "8", "--threads", "1"),
        *("--substitute", "linear"),
    )


@pytest.mark.parametrize("recover", ["distill", "finetune"])
def test_a_classifier_is_recovered(
    recover: str, pictures: Path, tmp_path: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the unpruned one says, or by labels; what missed least is kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xprune.stages.recover.FEW", 1)
    model = ("--model", "resnet20_cifar", "--weights", "none", "--data", str(pictures))
    little = ("--images", "6", "--calibration-images", "8", "--layers", "2", "--threads", "1")
    ends = [
        run("attribute", *model, *little, "--out", "out"),
        *(run(stage, "--out", "out") for stage in ("plan", "prune")),
        run("recover", "--recover", recover, "--recover-minutes", "0.05", "--out", "out"),
        run("export", "--out", "out"),
    ]

    assert [done.exit_code for done in ends] == [0] * len(ends), ends[-1].output
    made = read_checkpoint(tmp_path / "out/recovered.safetensors")
    facts = made.extra["recovery"]
    assert facts["best_loss"] <= facts["start_loss"]
    assert facts["steps"] > 0
    assert made.architecture["family"] == "classifier"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data", "builtin"), "its labels are boxes, and the model gives classes"),
        (("--data", "{pictures}", "--imgsz", "33"), "not a multiple of the network's stride 4"),
        (("--data", "{pictures}", "--raw"), "--raw leaves NMS out of a detector"),
        ((), "needs --data"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(
    options: tuple[str, ...], said: str, pictures: Path, tmp_path: Path, monkeypatch
) -> None:
    """Before anything is written."""
    monkeypatch.chdir(tmp_path)
    given = [option.format(pictures=pictures) for option in options]
    done = run("attribute", "--model", "resnet20_cifar", "--weights", "none", *given)

    assert done.exit_code in (1, 2)
    assert said in done.output
    assert "Traceback" not in done.output
