"""An artifact is written whole and checked, or not at all."""

import ast
import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from exporters import bundle, graph
from exporters.bundle import build_artifact
from exporters.graph import build_graph
from exporters.precision.int8 import Recipe
from exporters.precision.lower import Lowering
from runtime_bench.artifact.decode import decode_yolo
from runtime_bench.artifact.detections import Detections, match_detections
from runtime_bench.artifact.manifest import read_manifest
from runtime_bench.artifact.preprocess import read_picture
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings
from tests.exporters.conftest import NAMES, SIZE

pytestmark = pytest.mark.needs_torch

LIMITS = {"min_score": 0.001, "iou": 0.7, "max_boxes": 300}


@pytest.fixture(scope="module")
def finished(module, probes):
    """The graph that every artifact of these tests is made of: built once."""
    return build_graph(module, size=SIZE, probes=probes)


@pytest.fixture
def build(finished, module, card, pictures, monkeypatch):
    """Build an artifact without exporting each time."""
    monkeypatch.setattr(bundle, "build_graph", lambda *_, **__: copy.deepcopy(finished))

    def build(folder, **changes):
        options = {"card": card, "size": SIZE, "pictures": pictures, **changes}
        return build_artifact(module, folder=folder, **options)

    return build


def test_an_artifact_with_nms_answers_as_pytorch_does(build, tmp_path, reference, probes):
    """The manifest reads back, and the file gives PyTorch's detections for every probe."""
    manifest = build(tmp_path / "artifact", provenance={"seed": 0})

    assert read_manifest(tmp_path / "artifact") == manifest
    session = open_session(tmp_path / "artifact" / "model.onnx", SessionSettings())
    assert [output.name for output in session.outputs] == ["boxes", "scores", "labels"]
    for name, image in probes.items():
        actual = Detections(*session.run(image).values())
        expected = decode_yolo(reference[name], **LIMITS)
        match = match_detections(expected, actual, min_iou=0.99)
        assert len(match.pairs) == len(expected) == len(actual)
    assert len(decode_yolo(reference["picture 2"], **LIMITS)) > 10


def test_a_raw_artifact_is_for_the_decoder_of_its_manifest(build, tmp_path, reference, probes):
    """The output is the head's, and the manifest names the numpy decoder and its limits."""
    manifest = build(tmp_path / "artifact", raw=True, min_score=0.01, iou=0.5)

    assert (manifest.output.kind, manifest.output.decoder) == ("raw", "yolo")
    assert (manifest.output.min_score, manifest.output.iou) == (0.01, 0.5)
    session = open_session(tmp_path / "artifact" / "model.onnx", SessionSettings())
    actual = session.run(probes["noise"])["output0"][0]
    np.testing.assert_allclose(actual, reference["noise"], rtol=1e-4, atol=1e-3)


def test_the_manifest_says_how_it_was_made(build, tmp_path):
    """Names, parity of tensors and of detections, tools and versions."""
    manifest = build(tmp_path / "artifact", provenance={"seed": 7})

    export = manifest.provenance["export"]
    assert manifest.names == NAMES
    assert manifest.provenance["seed"] == 7
    assert (export["opset"], export["ir_version"], export["simplifier"]) == (18, 10, "onnxsim")
    assert export["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert manifest.parity["probes"] == ["picture 1", "picture 2", "blank", "grey", "noise"]
    assert manifest.parity["scores"]["max_difference"] <= 1e-4
    assert manifest.parity["detections"]["matched"] > 10


def test_the_same_model_gives_the_same_bytes(build, tmp_path):
    """No date, no path, no order of a dictionary is in the artifact."""
    first = build(tmp_path / "first")
    second = build(tmp_path / "elsewhere" / "second")

    assert first == second


def test_the_file_says_what_ultralytics_asks(build, tmp_path):
    """The metadata keys that its loader reads, as Python literals."""
    build(tmp_path / "artifact", raw=True)

    model = onnx.load(tmp_path / "artifact" / "model.onnx")
    notes = {note.key: note.value for note in model.metadata_props}
    assert ast.literal_eval(notes["names"]) == dict(enumerate(NAMES))
    assert ast.literal_eval(notes["imgsz"]) == list(SIZE)
    assert (notes["stride"], notes["task"], notes["batch"]) == ("32", "detect", "1")
    assert notes["license"] == "AGPL-3.0"


def test_stored_pictures_are_small_and_the_same_again(build, tmp_path):
    """At most 640 px a side, without enlarging; the manifest lists them with their digests."""
    large = np.random.default_rng(0).integers(0, 256, (1280, 640, 3), dtype=np.uint8)
    small = np.full((30, 40, 3), 200, dtype=np.uint8)

    manifest = build(tmp_path / "first", stored=[large, small])
    again = build(tmp_path / "second", stored=[large, small])

    assert manifest == again == read_manifest(tmp_path / "first")
    assert manifest.pictures == ("picture_1.jpg", "picture_2.jpg")
    first, second = (read_picture(tmp_path / "first" / name) for name in manifest.pictures)
    assert (first.shape, second.shape) == ((640, 320, 3), (30, 40, 3))
    np.testing.assert_allclose(second, small, atol=2)


def spoil_weights(graph):
    """Change one bias of the head a little: every score is off by 1e-3 or more."""
    for tensor in graph.model.graph.initializer:
        if tensor.name == "model.22.cv3.0.2.bias":
            values = numpy_helper.to_array(tensor) + np.float32(0.1)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return graph


def spoil_head(model, **limits):
    """Append NMS that lets much less overlap: some detections are missing."""
    from exporters.heads.nms import append_nms

    return append_nms(model, **{**limits, "iou": 0.05})


def test_a_graph_that_differs_is_never_written(build, finished, tmp_path, monkeypatch):
    """A failed comparison of tensors leaves nothing, and the earlier artifact as it was."""
    folder = tmp_path / "artifact"
    earlier = build(folder)
    spoiled = spoil_weights(copy.deepcopy(finished))
    monkeypatch.setattr(bundle, "build_graph", lambda *_, **__: spoiled)

    with pytest.raises(EdgeError, match="differs from the PyTorch model on probe 'picture 1'"):
        build(folder)
    with pytest.raises(EdgeError, match="differs"):
        build(tmp_path / "new")

    assert read_manifest(folder) == earlier
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_detections_that_differ_are_never_written(build, tmp_path, monkeypatch):
    """Right tensors and a wrong NMS: found by the comparison of detections."""
    monkeypatch.setattr(graph, "HEADS", {"yolo": spoil_head})

    with pytest.raises(EdgeError, match="detections differ"):
        build(tmp_path / "artifact")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(100, 64), (96, 0), (96, -32)])
def test_a_size_that_does_not_fit_is_an_error(build, tmp_path, size):
    """It says which size would do, before anything is done."""
    with pytest.raises(EdgeError, match=r"not a multiple of the network's stride 32; use 96x"):
        build(tmp_path / "artifact", size=size)

    assert list(tmp_path.iterdir()) == []


def test_a_card_with_other_classes_is_an_error(build, card, tmp_path):
    """Three names for a network of five classes."""
    with pytest.raises(EdgeError, match="3 class names, but the network scores 5"):
        build(tmp_path / "artifact", card=replace(card, names=NAMES[:3]))


class Linear(nn.Module):
    """Stands where a bottleneck was."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        """Map (B, C, H, W) to the same shape."""
        return self.conv(x)


def test_a_substitute_in_a_real_block_costs_nothing(module, probes):
    """From PyTorch to the file: the linear substitute of a C2f bottleneck is folded away."""
    pruned = copy.deepcopy(module)
    block = pruned.network.model[4]
    channels = block.cv2.conv.in_channels // 4
    block.m[1] = Linear(channels)

    graph = build_graph(pruned, size=SIZE, probes=probes)

    names = {node.name for node in graph.model.graph.node}
    assert graph.rewrites == {"merge_into_concat": 1}
    assert "model.4.m.0.cv1.conv/Conv" in names
    assert not any(name.startswith("model.4.m.1") for name in names)
    session = open_session(graph.model.SerializeToString(), SessionSettings())
    for image in probes.values():
        with torch.no_grad():
            expected = pruned(torch.from_numpy(image)).numpy()
        np.testing.assert_allclose(
            session.run(image)["output0"], expected, rtol=1e-4, atol=1e-3
        )


def test_an_artifact_in_int8_says_so_and_finds_the_same(build, tmp_path, probes):
    """The float graph agrees with PyTorch, the file with the float graph."""
    images = [image for name, image in probes.items() if name.startswith("picture")]
    lowering = Lowering("int8", images, quiet=True)

    manifest = build(tmp_path / "artifact", lowering=lowering)

    assert read_manifest(tmp_path / "artifact").precision == manifest.precision == "int8"
    how = manifest.provenance["export"]["precision"]
    assert how["convolutions_in_int8"] > 50
    assert how["layers_in_float"] == []
    assert how["calibration"] == "least_error"
    assert manifest.parity["scores"]["max_difference"] < manifest.parity["scores"]["limit"]
    assert manifest.parity["precision"]["compared"] >= 0
    model = onnx.load(tmp_path / "artifact" / "model.onnx")
    assert "QuantizeLinear" in {node.op_type for node in model.graph.node}
    assert {entry.key for entry in model.metadata_props} >= {"names", "stride"}


def test_a_graph_that_lost_too_much_is_not_written(build, tmp_path, probes, monkeypatch):
    """With a limit that none can reach, no folder appears."""
    monkeypatch.setattr("exporters.precision.agreement.SEEN", 0.001)
    monkeypatch.setattr("exporters.precision.agreement.LEAST_SHARE", 1.1)
    lowering = Lowering("int8", [probes["noise"]], Recipe(method="minmax"), quiet=True)

    with pytest.raises(EdgeError, match=r"only [01]\.\d\d is found in the lower precision"):
        build(tmp_path / "artifact", lowering=lowering)

    assert not (tmp_path / "artifact").exists()


def test_an_artifact_in_float16_takes_and_gives_float32(build, tmp_path, probes):
    """A device feeds it as before."""
    manifest = build(tmp_path / "artifact", lowering=Lowering("float16"))

    assert manifest.precision == "float16"
    assert manifest.input.dtype == "float32"
    session = open_session(tmp_path / "artifact" / "model.onnx", SessionSettings())
    assert session.run(probes["noise"])["scores"].dtype == np.float32
