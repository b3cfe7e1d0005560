"""All rewrites on whole networks: tensors, detections, names, an artifact."""

import numpy as np
import pytest
import torch

from exporters.bundle import build_artifact
from exporters.detection_parity import compare_detections
from exporters.graph import build_graph, finish_graph
from exporters.parity import compare_raw
from exporters.probes import make_probes
from exporters.rewrites import REWRITES, boxes_where_found, winograd
from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import OutputSpec
from runtime_bench.runtime.profile import node_times
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings
from tests.exporters.conftest import Wrapped
from tests.reference.cards import yolo_card
from xprune.models.ultralytics import upstream

pytestmark = pytest.mark.needs_torch

SIZE = (160, 128)
CLASSES = 5
LIMITS = OutputSpec(min_score=0.001, iou=0.7, max_boxes=300)
ARCHITECTURES = ("yolov8n", "yolov5n", "yolov9t", "yolo11n")


@pytest.fixture(autouse=True)
def _small_is_large_enough(monkeypatch):
    """Let rewrites that need many multiplications run on small maps."""
    monkeypatch.setattr(winograd, "SMALL", 100_000)
    monkeypatch.setattr(boxes_where_found, "LEAST_WORK", 100_000)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def built(request, pictures):
    """A stock network with random weights that finds something: module, graph, probes."""
    tasks = upstream.tasks()
    architecture = tasks.yaml_model_load(f"{request.param}.yaml") | {"nc": CLASSES}
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = tasks.DetectionModel(architecture, verbose=False).eval()
    with torch.no_grad():
        for branch in network.model[-1].cv3:
            branch[-1].weight.normal_(0, 1, generator=generator)
            branch[-1].bias.fill_(-4)
    module = Wrapped(network.requires_grad_(False)).eval()
    probes = make_probes(pictures, InputSpec(size=SIZE))
    return module, build_graph(module, size=SIZE, probes=probes), probes


def finished(graph, *, raw):
    """Return the graph with all rewrites, and a session of it."""
    done = finish_graph(
        graph,
        card=yolo_card(CLASSES),
        limits=LIMITS,
        raw=raw,
        rewrites=REWRITES,
    )
    return done, open_session(done.model.SerializeToString(), SessionSettings())


def reference(module, probe):
    """Return what PyTorch answers, (4 + classes, anchors)."""
    with torch.no_grad():
        return module(torch.from_numpy(probe))[0].numpy()


def test_raw_outputs_are_those_of_pytorch(built):
    """Boxes and scores, on pictures, noise and nothing; the interface is as it was."""
    module, graph, probes = built
    done, session = finished(graph, raw=True)

    assert {"upsample_later", "weigh_bins", "winograd_small"} <= set(done.rewrites)
    assert [(o.name, o.shape) for o in session.outputs] == [("output0", (1, 4 + CLASSES, 420))]
    for probe in probes.values():
        actual = session.run(probe)["output0"][0]
        parity = compare_raw(reference(module, probe), actual)
        assert all(part.holds for part in parity.values())


def test_detections_are_those_of_pytorch(built):
    """By class and overlap, with NMS inside; boxes come from the chosen anchors alone."""
    module, graph, probes = built
    done, session = finished(graph, raw=False)

    assert "boxes_where_found" in done.rewrites
    found = 0
    for name, probe in probes.items():
        answer = session.run(probe)
        actual = Detections(*(answer[key] for key in ("boxes", "scores", "labels")))
        parity = compare_detections(reference(module, probe), actual, output=LIMITS, probe=name)
        found += parity.matched
    assert found > 50


def test_nothing_found_is_no_error(built):
    """No anchor is above a least score of nearly 1: no boxes to compute."""
    _, graph, probes = built
    done = finish_graph(
        graph,
        card=yolo_card(CLASSES),
        limits=OutputSpec(min_score=0.9999, iou=0.7, max_boxes=300),
        rewrites=REWRITES,
    )

    answer = open_session(done.model.SerializeToString(), SessionSettings()).run(probes["grey"])

    assert "boxes_where_found" in done.rewrites
    assert answer["boxes"].shape == (0, 4)


def test_nodes_are_named_after_their_layers(built):
    """The latency table adds up times by these names; nothing is counted for no layer."""
    module, graph, probes = built
    done, _ = finished(graph, raw=True)
    layers = {name for name, _ in module.network.named_modules()}

    times = node_times(
        done.model.SerializeToString(),
        [probes["noise"]],
        SessionSettings(threads=1),
        runs=2,
    )

    owners = {source.rpartition("/")[0] for source in times.by_source}
    assert owners - layers <= {"graph"}


def test_an_artifact_says_which_rewrites_it_has(
    module, probes, card, pictures, tmp_path, monkeypatch
):
    """Built, checked against PyTorch and written; nothing else than asked is in it."""
    options = {"card": card, "size": (96, 64), "pictures": pictures}
    manifest = build_artifact(
        module, folder=tmp_path / "a", rewrites=["weigh_bins", "straight_to_nms"], **options
    )

    export = manifest.provenance["export"]
    assert export["rewrites"] == {"weigh_bins": 1, "straight_to_nms": 1}
    assert manifest.parity["detections"]["matched"] > 10
    answer = open_session(tmp_path / "a" / "model.onnx", SessionSettings()).run(probes["noise"])
    assert np.isfinite(answer["boxes"]).all()
