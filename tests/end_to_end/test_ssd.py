"""torchvision's SSDs go the whole line by the commands of a YOLO, and answer as it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxsim
import pytest
import torch
from torch import nn

from exporters.bundle import build_artifact
from exporters.card import ModelCard
from exporters.graph import build_graph, finish_graph
from runtime_bench.artifact.detections import Detections, match_detections
from runtime_bench.artifact.detector import load, read_outputs
from runtime_bench.artifact.manifest import OutputSpec
from runtime_bench.artifact.preprocess import prepare, read_picture
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings
from tests.end_to_end.whole_line import check_against_pytorch, line_without
from tests.reference.lively_ssd import lively_ssd
from xprune.layers.candidates import find_candidates
from xprune.layers.substitutes import replacement
from xprune.layers.surgery import apply_plan
from xprune.models.families import SSD
from xprune.models.torchvision import ssd

CLASSES = 8  # as the built-in scenes have
# An SSD300 takes minutes on one core.
HEAVY = [pytest.param(ssd.SSD300, marks=[pytest.mark.slow, pytest.mark.heavy])]
SIZES = {ssd.SSDLITE: (96, 128), ssd.SSD300: (268, 300)}
# Convolutions whose place the picture can pass as it is.
PASSED = {ssd.SSDLITE: "backbone.features.0.3", ssd.SSD300: "backbone.features.7"}


@pytest.mark.parametrize("name", [ssd.SSDLITE, *HEAVY])
def test_an_ssd_goes_the_whole_line(
    name: str, tmp_path: Path, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed, scored, planned, cut, exported, measured; the file answers as PyTorch does."""
    monkeypatch.chdir(tmp_path)
    torch.save(lively_ssd(name, CLASSES).state_dict(), "weights.pth")
    imgsz = "x".join(map(str, SIZES[name]))

    manifest, _ = line_without(2, "--model", name, "--weights", "weights.pth", "--imgsz", imgsz)

    usual = lively_ssd(name, CLASSES).nms_thresh
    assert (manifest["family"], manifest["output"]["iou"]) == ("ssd", usual)
    assert manifest["input"]["resize"] == "stretch"
    assert manifest["output"]["names"] == ["boxes", "scores", "labels"]
    assert len(manifest["provenance"]["removed"]) == 2
    onnx.checker.check_model("out/artifact/model.onnx", full_check=True)
    check_against_pytorch()


def check_graph(model: onnx.ModelProto) -> None:
    """A valid graph with one NMS, of which onnxsim can take nothing away."""
    onnx.checker.check_model(model, full_check=True)
    assert sum(node.op_type == "NonMaxSuppression" for node in model.graph.node) == 1
    smaller, _ = onnxsim.simplify(model)
    assert len(smaller.graph.node) == len(model.graph.node)


def card_of(name: str, network: nn.Module) -> ModelCard:
    """Return what the manifest of such a network says."""
    architecture = {"name": name}
    return ModelCard(
        model_name=name,
        family=SSD.key,
        licence=SSD.licence,
        names=tuple(map(str, range(CLASSES))),
        stride=SSD.network_stride(network),
        preprocessing=SSD.preprocessing(architecture),
        nms_iou=SSD.nms_iou(architecture),
    )


def torchvisions(network: nn.Module, path: Path, *, min_score: float) -> Detections:
    """What the network's own forward finds in a picture, resizing and suppression included."""
    network.score_thresh, network.detections_per_img = min_score, 300
    network.topk_candidates = 100_000  # of each class before suppression: ours looks at all
    values = torch.from_numpy(read_picture(path).transpose(2, 0, 1).copy()).float() / 255
    with torch.no_grad():
        (found,) = network([values])
    labels = found["labels"].numpy() - 1
    return Detections(found["boxes"].numpy(), found["scores"].numpy(), labels)


def pruned(name: str, network: nn.Module) -> nn.Module:
    """Return the network without one of its layers."""
    image = torch.zeros(1, 3, *SSD.usual_size({"name": name}))
    candidates = find_candidates(network, lambda: SSD.head_outputs(network, image))
    (layer,) = (one for one in candidates if one.name == PASSED[name])
    return apply_plan(network, [replacement(layer, "identity")]).eval()


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("name", [ssd.SSDLITE, *HEAVY])
def test_real_pictures_get_torchvisions_answer(
    name: str, cut: bool, data_folder: Path, tmp_path: Path
) -> None:
    """From the file to boxes in its pixels, on 20 photographs, before and after pruning."""
    network = lively_ssd(name, CLASSES)
    if cut:
        network = pruned(name, network)
    build_artifact(
        SSD.decoded(network),
        folder=tmp_path / "artifact",
        card=card_of(name, network),
        size=SSD.usual_size({"name": name}),
    )
    artifact = load(tmp_path / "artifact", threads=1, min_score=0.0)
    compared = alone = 0
    for path in sorted((data_folder / "coco_val" / "images").iterdir())[:20]:
        wanted = torchvisions(network, path, min_score=artifact.manifest.output.min_score)
        found = artifact(path)

        pairs = match_detections(wanted, found, min_iou=0.9).pairs
        compared += len(wanted)
        alone += len(wanted) - len(pairs)
        assert len(wanted) == len(found)
        boxes = np.abs(wanted.boxes[pairs[:, 0]] - found.boxes[pairs[:, 1]])
        scores = np.abs(wanted.scores[pairs[:, 0]] - found.scores[pairs[:, 1]])
        assert boxes.max() < 1
        assert scores.max() < 1e-3
    assert compared > 2000
    # Of two boxes that overlap by the limit itself, rounding says whether the lesser one stays.
    assert alone <= 0.005 * compared


@pytest.mark.parametrize("name", [ssd.SSDLITE, *HEAVY])
def test_none_one_and_a_full_house(name: str) -> None:
    """As many as score enough, down to none and up to the most there may be."""
    network, size = lively_ssd(name, CLASSES), SIZES[name]
    spec = SSD.preprocessing({"name": name}).at(size)
    picture = np.random.default_rng(3).integers(0, 256, (240, 370, 3), dtype=np.uint8)
    image = prepare(picture, spec)[0][None]
    graph = build_graph(SSD.decoded(network), size=size, probes={"picture": image})
    with torch.no_grad():
        scores = SSD.decoded(network)(torch.from_numpy(image))[0, 4:].flatten()
    first, second = scores.topk(2).values.tolist()
    assert first - second > 1e-5, "no score lies between the best two"

    for least, count in (((1 + first) / 2, 0), ((first + second) / 2, 1), (0.0, 300)):
        limits = OutputSpec(min_score=least, max_boxes=300, iou=network.nms_thresh)
        shipped = finish_graph(graph, card=card_of(name, network), limits=limits)
        check_graph(shipped.model)
        session = open_session(shipped.model.SerializeToString(), SessionSettings(threads=1))
        found = read_outputs(session.run(image), limits)
        assert len(found) == count
        assert found.boxes.shape == (count, 4)
        assert (np.diff(found.scores) <= 0).all()
        assert (found.boxes > -1e-3).all()
        assert (found.boxes < np.array([*size[::-1]] * 2) + 1e-3).all()
