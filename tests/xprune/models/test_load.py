"""Detectors from names, YAMLs and weights files, and what is said when they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import sha256_of
from xprune.models.families import YOLO
from xprune.models.load import load_detector
from xprune.models.ultralytics.upstream import tasks

NAMES = ("cat", "dog", "owl")


def assert_same_outputs(
    first: torch.nn.Module, second: torch.nn.Module, *, atol: float
) -> None:
    """Both networks decode a noisy picture to the same boxes and scores."""
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    a, b = YOLO.decoded(first)(image), YOLO.decoded(second)(image)
    torch.testing.assert_close(a, b, rtol=atol, atol=atol)


@pytest.fixture
def yaml_path(tmp_path: Path, architecture: dict[str, Any]) -> Path:
    """The small architecture as a YAML."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(architecture))
    return path


def save_state(network: torch.nn.Module, path: Path) -> str:
    """Save a bare state dict."""
    torch.save(network.state_dict(), path)
    return str(path)


def test_an_ultralytics_checkpoint(network, ultralytics_checkpoint):
    """A .pt as people have it: names, stride and weights, in float32, ready to be scored."""
    detector = load_detector(str(ultralytics_checkpoint))

    assert (detector.name, detector.family, detector.names) == ("best", "yolo", NAMES)
    assert (detector.stride, detector.licence, detector.plan) == (16, "AGPL-3.0", ())
    assert detector.weights_sha256 == sha256_of(ultralytics_checkpoint)
    assert all(p.dtype == torch.float32 for p in detector.network.parameters())
    expected = {k: v.half().float() for k, v in network.state_dict().items()}
    loaded = detector.network.state_dict()
    assert all(torch.equal(loaded[k].float(), v) for k, v in expected.items())


def test_a_fused_checkpoint(tmp_path, network, ultralytics_checkpoint):
    """Without its batch norms the model computes the same, and still has layers to prune."""
    content = torch.load(ultralytics_checkpoint, weights_only=False)
    content["ema"].float().eval().fuse(verbose=False)
    path = tmp_path / "fused.pt"
    torch.save(content, path)

    detector = load_detector(str(path))

    assert_same_outputs(detector.network, content["ema"], atol=1e-3)
    assert detector.network.state_dict().keys() == network.state_dict().keys()


def test_a_state_dict_for_a_yaml(tmp_path, network, yaml_path):
    """Bare tensors take their architecture from the YAML and their names from the caller."""
    weights = save_state(network, tmp_path / "weights.pth")

    detector = load_detector(str(yaml_path), weights=weights, names=NAMES)

    assert (detector.name, detector.names) == ("small", NAMES)
    assert_same_outputs(detector.network, network, atol=0)


def test_a_state_dict_that_names_its_architecture(tmp_path):
    """A file may carry the name of a known architecture, names, and half precision."""
    network = YOLO.build_network({**tasks().yaml_model_load("yolov8n.yaml"), "nc": 2})
    path = tmp_path / "two.pth"
    state = {name: tensor.half() for name, tensor in network.state_dict().items()}
    torch.save({"architecture": network.yaml, "names": ["a", "b"], "state_dict": state}, path)

    detector = load_detector(str(path))

    assert (detector.name, detector.names, detector.stride) == ("two", ("a", "b"), 32)


def test_random_weights_from_a_name():
    """A known name gives its architecture; the classes are those that are asked for."""
    detector = load_detector("yolov8n", weights="none", names=NAMES, seed=4)

    assert (detector.name, detector.names, detector.weights_sha256) == ("yolov8n", NAMES, None)
    assert detector.architecture["nc"] == 3
    again = load_detector("yolov8n.yaml", weights="none", names=NAMES, seed=4)
    assert_same_outputs(detector.network, again.network, atol=0)


def test_the_built_in_detector():
    """The file in the repository loads: the format of old checkpoints stays readable."""
    detector = load_detector("builtin")

    assert (detector.name, detector.licence, len(detector.names)) == ("builtin", "AGPL-3.0", 8)
    assert all(p.dtype == torch.float32 for p in detector.network.parameters())


def test_the_coco_weights(data_folder):
    """The real YOLOv8n: 80 classes, and the tensors that PyTorch reads from the file."""
    path = data_folder / "weights" / "yolov8n_coco.pth"

    detector = load_detector(str(path))

    expected = torch.load(path, weights_only=True)["state_dict"]
    loaded = detector.network.state_dict()
    assert (len(detector.names), detector.names[0]) == (80, "person")
    assert all(torch.equal(loaded[k], v.to(loaded[k].dtype)) for k, v in expected.items())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("yolov8n.pt", r"there is no file yolov8n\.pt, and nothing is downloaded"),
        ("yolov8q", "no model is called 'yolov8q'; there are builtin, yolov8n"),
        ("https://example.org/yolov8n.pt", "nothing is downloaded"),
        ("missing.yaml", r"there is no file missing\.yaml"),
        (".", "is a folder"),
    ],
)
def test_what_does_not_exist(tmp_path, monkeypatch, model, message):
    """A missing model is an error that says that nothing is downloaded, and leaves no file."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(EdgeError, match=message):
        load_detector(model)

    assert not list(tmp_path.iterdir())


def test_an_architecture_needs_weights():
    """Random weights are never taken without being asked for."""
    with pytest.raises(UsageError, match="add --weights PATH, or --weights none"):
        load_detector("yolov8n")


def test_a_weights_file_needs_no_other(ultralytics_checkpoint):
    """Two sources of weights are one too many."""
    with pytest.raises(UsageError, match="brings its own weights"):
        load_detector(str(ultralytics_checkpoint), weights="none")


@pytest.mark.parametrize(
    ("name", "message"),
    [("model.onnx", "is ONNX, an exported model"), ("model.zip", "ends in '.zip'")],
)
def test_a_file_of_another_format(tmp_path, name, message):
    """An exported model, or an unknown ending, is refused by its name."""
    path = tmp_path / name
    path.write_bytes(b"x")

    with pytest.raises(EdgeError, match=message):
        load_detector(str(path))


def test_a_state_dict_without_architecture(tmp_path, network):
    """Tensors alone do not say what they belong to; the error shows the command."""
    weights = save_state(network, tmp_path / "weights.pth")

    with pytest.raises(EdgeError, match="name the architecture: --model yolov8n"):
        load_detector(weights)


def test_names_must_fit_the_classes(ultralytics_checkpoint):
    """Two names for three classes are refused, not cut or filled."""
    with pytest.raises(EdgeError, match="was trained for 3 classes, but 2 names are given"):
        load_detector(str(ultralytics_checkpoint), names=("a", "b"))


def change_missing(state: dict[str, Any]) -> None:
    """Leave out five tensors."""
    for name in list(state)[:5]:
        del state[name]


def change_unknown(state: dict[str, Any]) -> None:
    """Add one."""
    state["extra.weight"] = torch.zeros(1)


def change_shape(state: dict[str, Any]) -> None:
    """Make one wider."""
    state["model.0.conv.weight"] = torch.zeros(32, 3, 3, 3)


def change_type(state: dict[str, Any]) -> None:
    """Quantise one."""
    state["model.0.conv.weight"] = state["model.0.conv.weight"].to(torch.int8)


def change_value(state: dict[str, Any]) -> None:
    """Make one value no number."""
    state["model.0.conv.weight"] = torch.full((16, 3, 3, 3), float("nan"))


FAULTS = {
    change_missing: r"5 missing \(model\.0\.conv\.weight, model.*, …\)",
    change_unknown: r"1 unknown \(extra\.weight\);",
    change_shape: r"real \(32, 3, 3, 3\) instead of real \(16, 3, 3, 3\)",
    change_type: r"whole \(16, 3, 3, 3\) instead of real",
    change_value: "has values that are not finite",
}


@pytest.mark.parametrize("change", FAULTS)
def test_weights_of_another_architecture(tmp_path, network, yaml_path, change):
    """Every tensor must fit; the error counts those that do not and names the first few."""
    state = dict(network.state_dict())
    change(state)
    path = tmp_path / "weights.pth"
    torch.save(state, path)

    with pytest.raises(EdgeError, match=FAULTS[change]) as error:
        load_detector(str(yaml_path), weights=str(path))

    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "names", [["a", 2, "c"], {0: "a", 5: "b", 1: "c"}, ["a", "b\n", "c"], "abc"]
)
def test_names_that_are_no_texts(tmp_path, network, names):
    """Class names are printable texts, numbered without gaps."""
    path = tmp_path / "weights.pth"
    content = {"architecture": network.yaml, "names": names, "state_dict": network.state_dict()}
    torch.save(content, path)

    with pytest.raises(EdgeError, match="its class names are not"):
        load_detector(str(path))
