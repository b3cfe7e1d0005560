"""Official weights: read by their names, never fetched unasked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
import torchvision

from runtime_bench.errors import EdgeError, UsageError
from xprune.models.families import CLASSIFIER, find_architecture
from xprune.models.files import hub
from xprune.models.load import load_detector
from xprune.models.torchvision import classifier


@pytest.fixture
def network() -> torch.nn.Module:
    """A small classifier with random weights."""
    return CLASSIFIER.build_network(find_architecture("resnet20_cifar"), seed=4)


def _asked(*_: object, **__: object) -> None:
    pytest.fail("the network was asked")


def saved(folder: Path, network: torch.nn.Module, **how: bool) -> Path:
    """Write weights under a name that begins their SHA-256, as the hub does."""
    path = folder / "w.th"
    torch.save(network.state_dict(), path, **how)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(folder / f"resnet20-{digest[:8]}.th")


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_of_either_format_are_read(zipped: bool, network, tmp_path: Path):
    """torchvision's older files are not zip archives."""
    path = saved(tmp_path, network, _use_new_zipfile_serialization=zipped)

    detector = load_detector("resnet20_cifar", weights=str(path))

    assert detector.names == classifier.CIFAR10
    assert detector.task == "classify"
    for found, wanted in zip(detector.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(found, wanted)


def test_what_several_gpus_trained_is_read(network, tmp_path: Path):
    """With `module.` before every name, inside a training's own dictionary."""
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "best": 0.9}, tmp_path / "w.pth")

    detector = load_detector("resnet20_cifar", weights=str(tmp_path / "w.pth"))

    assert torch.equal(detector.network.conv1.weight, network.conv1.weight)


def test_classes_of_weights_are_counted(tmp_path: Path):
    """A fine-tuned head has as many as its last layer; names come from the data."""
    architecture = {**find_architecture("resnet20_cifar"), "nc": 3}
    torch.save(CLASSIFIER.build_network(architecture).state_dict(), tmp_path / "w.pth")

    detector = load_detector(
        "resnet20_cifar",
        weights=str(tmp_path / "w.pth"),
        names_if_missing=lambda: ("ant", "bee", "wasp"),
    )

    assert detector.names == ("ant", "bee", "wasp")
    assert detector.architecture["nc"] == 3


def test_a_file_that_is_not_what_its_name_says_is_refused(network, tmp_path: Path):
    """One changed byte and the beginning of the checksum is another."""
    path = saved(tmp_path, network)
    path.write_bytes(path.read_bytes() + b" ")

    with pytest.raises(EdgeError, match="its SHA-256 does not begin with"):
        load_detector("resnet20_cifar", weights=str(path))


def test_a_name_that_only_looks_like_one_is_none(network, tmp_path: Path):
    """Eight digits after another name may be a commit."""
    path = saved(tmp_path, network).rename(tmp_path / "mine-01234567.pth")

    assert load_detector("resnet20_cifar", weights=str(path)).weights_sha256


def test_default_weights_come_from_the_cache_if_they_are_there(monkeypatch, tmp_path: Path):
    """Nothing is asked for, and a person is told which file it is."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _asked)
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    path = tmp_path / "checkpoints" / url.rsplit("/", 1)[-1]
    path.parent.mkdir()
    path.write_bytes(b"weights")
    said: list[str] = []

    assert hub.default_weights("resnet18", said.append) == path
    assert str(path) in said[0]


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("ssd300_vgg16", "ssd300_vgg16_coco-b556d3b4.pth"),
        ("ssdlite320_mobilenet_v3_large", "ssdlite320_mobilenet_v3_large_coco-a79551df.pth"),
        ("fcos_resnet50_fpn", "fcos_resnet50_fpn_coco-99b0c9b7.pth"),
    ],
)
def test_weights_of_detectors_have_torchvisions_names(
    monkeypatch, tmp_path: Path, model: str, file: str
):
    """The file that the hub would fetch, which must be what its name says."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _asked)
    path = tmp_path / "checkpoints" / file
    path.parent.mkdir()
    path.write_bytes(b"something else")

    assert hub.default_weights(model, [].append) == path
    with pytest.raises(EdgeError, match="its SHA-256 does not begin with"):
        hub.check_name(path)


def test_without_a_network_default_weights_are_an_error(monkeypatch, tmp_path: Path):
    """In one line, after a person was told what is being downloaded; nothing is left."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    said: list[str] = []

    with pytest.raises(EdgeError, match=r"cannot be downloaded \(no route to host\)"):
        load_detector("mobilenet_v2", weights="DEFAULT", say=said.append)

    assert said[0].startswith("Downloading https://")


def test_default_weights_of_what_has_none_are_a_usage_error():
    """torchvision trained no network for CIFAR-10, and no YOLO."""
    with pytest.raises(UsageError, match="there are none of resnet20_cifar"):
        load_detector("resnet20_cifar", weights="DEFAULT")
    with pytest.raises(UsageError, match="there are none of yolov8n"):
        load_detector("yolov8n", weights="DEFAULT")
