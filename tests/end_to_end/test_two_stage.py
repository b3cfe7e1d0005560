"""Faster R-CNN goes the whole line by the same commands as a YOLO."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.end_to_end.whole_line import check_against_pytorch, line_without
from xprune.models.families import TWO_STAGE
from xprune.models.torchvision import two_stage

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
    # What is faster is found out by hundreds of runs.
    quick = ("--rewrites", "off") if name in LIGHT else ()

    manifest, layers = line_without(
        2, "--model", name, "--weights", "none", "--imgsz", "64x96", *quick
    )

    assert "rpn.head.conv" in layers
    assert "roi_heads.box_head" in layers
    assert (manifest["family"], manifest["output"]["iou"]) == ("two_stage", TWO_STAGE.overlap)
    assert manifest["output"]["names"] == ["boxes", "scores", "labels"]
    assert len(manifest["provenance"]["removed"]) == 2
    regions = manifest["parity"]["regions"]
    assert regions["share_apart"] <= regions["limit"]
    graph = onnx.load("out/artifact/model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    assert sum(node.op_type == "NonMaxSuppression" for node in graph.graph.node) == 2
    check_against_pytorch()
