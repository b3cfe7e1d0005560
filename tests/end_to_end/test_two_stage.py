"""Faster R-CNN goes the whole line by the same commands as a YOLO."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch

from exporters.detection_parity import compare_detections
from exporters.raw_layout import CLASS_BOXES
from runtime_bench.artifact.detector import load, read_answer
from runtime_bench.artifact.preprocess import prepare, read_picture
from tests.cli.commands import run
from xprune.models import two_stage
from xprune.models.load import load_detector

LIGHT = ["fasterrcnn:shufflenet_v2_x0_5"]
HEAVY = [name for name in two_stage.NAMES if name not in LIGHT]
MATRIX = [
    *LIGHT,
    *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.heavy]) for name in HEAVY),
]


@pytest.mark.parametrize("name", MATRIX)
def test_a_two_stage_detector_goes_the_whole_line(
    name: str, tmp_path: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed, scored, planned, cut, exported, measured; the file answers as PyTorch does."""
    monkeypatch.chdir(tmp_path)
    model = ("--model", name, "--weights", "none", "--imgsz", "64x96")
    few = ("--data", "builtin", "--images", "8", "--calibration-images", "8", "--layers", "2")
    # What is faster is found out by hundreds of runs.
    few += ("--rewrites", "off") if name in LIGHT else ()
    ends = [
        run("layers", *model),
        run(
            *("attribute", *model, *few, "--substitute", "linear", "--conf", "0.001"),
            *("--threads", "1", "--out", "out"),
        ),
        *(run(stage, "--out", "out") for stage in ("plan", "prune", "export")),
        run("bench", "out/artifact", "--data", "out/scenes/test-8/instances.json"),
    ]
    assert [done.exit_code for done in ends] == [0] * len(ends), ends[-1].output
    assert "rpn.head.conv" in ends[0].output

    manifest = json.loads((tmp_path / "out/artifact/manifest.json").read_text())
    assert (manifest["family"], manifest["output"]["iou"]) == ("two_stage", two_stage.NMS_IOU)
    assert manifest["output"]["names"] == ["boxes", "scores", "labels"]
    assert len(manifest["provenance"]["removed"]) == 2
    regions = manifest["parity"]["regions"]
    assert regions["share_apart"] <= regions["limit"]
    graph = onnx.load(tmp_path / "out/artifact/model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    assert sum(node.op_type == "NonMaxSuppression" for node in graph.graph.node) == 2
    detector = load_detector(str(tmp_path / "out/pruned.safetensors"))
    artifact = load(tmp_path / "out/artifact", threads=1, min_score=0.0)
    decoded = two_stage.decoded(detector.network)
    for path in sorted((tmp_path / "out/scenes/test-8/images").iterdir())[:4]:
        image, _ = prepare(read_picture(path), artifact.manifest.input)
        with torch.no_grad():
            raw = decoded(torch.from_numpy(image)[None])[0].numpy()
        found = read_answer(artifact.session.run(image[None]), artifact.manifest)
        # It raises where more differs than rounding explains.
        parity = compare_detections(
            raw,
            found,
            decoder=CLASS_BOXES,
            output=artifact.manifest.output,
            probe=path.name,
        )
        assert parity.compared > 0
        assert parity.max_box_difference_px < 1
        assert parity.max_score_difference < 1e-3
