"""torchvision's one-stage detectors go the whole line by the same commands as a YOLO."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.end_to_end.whole_line import check_against_pytorch, line_without
from xprune.models.families import ONE_STAGE
from xprune.models.torchvision import one_stage

LIGHT = ["retinanet:shufflenet_v2_x0_5"]
# Half a minute each on one core.
HEAVY = [name for name in one_stage.NAMES if name not in LIGHT]
MATRIX = [
    *LIGHT,
    *(pytest.param(name, marks=[pytest.mark.slow, pytest.mark.heavy]) for name in HEAVY),
]


@pytest.mark.parametrize("name", MATRIX)
def test_a_one_stage_detector_goes_the_whole_line(
    name: str, tmp_path: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed, scored, planned, cut, exported, measured; the file answers as PyTorch does."""
    monkeypatch.chdir(tmp_path)

    manifest, _ = line_without(2, "--model", name, "--weights", "none", "--imgsz", "64x96")

    assert (manifest["family"], manifest["output"]["iou"]) == ("one_stage", ONE_STAGE.overlap)
    assert manifest["output"]["names"] == ["boxes", "scores", "labels"]
    assert len(manifest["provenance"]["removed"]) == 2
    graph = onnx.load("out/artifact/model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    assert sum(node.op_type == "NonMaxSuppression" for node in graph.graph.node) == 1
    check_against_pytorch()
