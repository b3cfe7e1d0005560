"""Files of torchvision's detectors against PyTorch, on photographs, whole and pruned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exporters.bundle import build_artifact
from exporters.card import ModelCard
from exporters.detection_parity import compare_detections
from exporters.reference import Reference
from runtime_bench.artifact.detector import load, read_answer
from runtime_bench.artifact.preprocess import prepare, read_picture
from tests.xprune.models.torchvision import test_one_stage, test_two_stage
from xprune.layers.candidates import find_candidates
from xprune.layers.substitutes import applicable, replacement
from xprune.layers.surgery import apply_plan
from xprune.models.families import MODELS, find_architecture
from xprune.models.torchvision import one_stage, two_stage

SIZE = (96, 128)
PICTURES = 20
LIGHT = ["retinanet:shufflenet_v2_x0_5", "fasterrcnn:shufflenet_v2_x0_5"]
HEAVY = [name for name in (*one_stage.NAMES, *two_stage.NAMES) if name not in LIGHT]
BUILT = {"one_stage": test_one_stage.built, "two_stage": test_two_stage.built}
REMOVED = 2


def pruned(network: nn.Module, name: str) -> nn.Module:
    """The network without two layers of its pyramid or head that can be passed by."""
    family = MODELS[find_architecture(name)["family"]]
    image = torch.zeros(1, 3, *SIZE)
    candidates = find_candidates(network, lambda: family.head_outputs(network, image))
    passed = [
        candidate
        for candidate in candidates
        if candidate.name.startswith(("backbone.fpn.layer_blocks", "head", "roi_heads"))
        and candidate.parent is None
        and "identity" in applicable(candidate)
    ]
    gone = [replacement(candidate, "identity") for candidate in passed[:REMOVED]]
    assert len(gone) == REMOVED
    return apply_plan(network, gone).eval()


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "pruned"])
@pytest.mark.parametrize(
    "name",
    [*LIGHT, *(pytest.param(n, marks=[pytest.mark.slow, pytest.mark.heavy]) for n in HEAVY)],
)
def test_a_file_finds_on_photographs_what_pytorch_finds(
    name: str, cut: bool, data_folder: Path, tmp_path: Path
) -> None:
    """Each box within a pixel, each score within a thousandth, on 20 pictures."""
    architecture = find_architecture(name)
    family = MODELS[architecture["family"]]
    network = BUILT[architecture["family"]](name)
    if cut:
        network = pruned(network, name)
    decoded = family.decoded(network)
    card = ModelCard(
        model_name=name,
        family=architecture["family"],
        licence=family.licence,
        names=tuple(map(str, range(test_one_stage.CLASSES))),
        stride=family.network_stride(network),
        preprocessing=family.preprocessing(architecture),
        decoder=family.decoder,
        nms_iou=family.nms_iou(architecture),
    )
    build_artifact(decoded, folder=tmp_path / "artifact", card=card, size=SIZE)
    artifact = load(tmp_path / "artifact", threads=1, min_score=0.0)
    paths = sorted((data_folder / "coco_val" / "images").iterdir())[:PICTURES]
    images = {
        path.name: prepare(read_picture(path), artifact.manifest.input)[0][None]
        for path in paths
    }
    content = (tmp_path / "artifact/model.onnx").read_bytes()
    answers, _, figures = Reference(decoded, images).beside(content, card.output_name)

    assert figures.get("regions", {"share_apart": 0.0})["share_apart"] < 0.01
    compared = 0
    for path in paths:
        found = read_answer(artifact.session.run(images[path.name]), artifact.manifest)
        parity = compare_detections(
            answers[path.name].astype(np.float32),
            found,
            decoder=family.decoder,
            output=artifact.manifest.output,
            probe=path.name,
        )
        compared += parity.compared
        assert parity.max_box_difference_px < 1
        assert parity.max_score_difference < 1e-3
    assert compared > 100
