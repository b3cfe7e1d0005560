"""A small detector of stock YOLOv8 architecture, exported once for all tests."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from exporters.card import ModelCard
from exporters.onnx_export import export_raw
from exporters.probes import make_probes
from runtime_bench.artifact.input_spec import InputSpec
from xprune.models.ultralytics import upstream

SIZE = (96, 64)
NAMES = ("red", "green", "blue", "black", "white")


class Wrapped(nn.Module):
    """What is exported: a network behind one attribute, one tensor in and one out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (B, 3, H, W) to (B, 4 + classes, anchors)."""
        decoded: torch.Tensor = self.network(images)[0]
        return decoded


@pytest.fixture(scope="session")
def network() -> nn.Module:
    """An eighth of YOLOv8n's width, with weights that give some detections anywhere."""
    tasks = upstream.tasks()
    architecture = tasks.yaml_model_load("yolov8n.yaml")
    architecture |= {"nc": len(NAMES), "scales": {"n": [0.33, 0.125, 1024]}}
    generator = torch.Generator().manual_seed(3)
    built: nn.Module = tasks.DetectionModel(architecture, verbose=False).eval()
    with torch.no_grad():
        for part in built.modules():
            if isinstance(part, nn.BatchNorm2d):
                assert part.running_mean is not None
                assert part.running_var is not None
                part.running_mean.normal_(0, 0.1, generator=generator)
                part.running_var.uniform_(0.1, 0.3, generator=generator)
        for branch in built.model[-1].cv3:
            branch[-1].weight.normal_(0, 1, generator=generator)
            branch[-1].bias.fill_(-3)
    return built.requires_grad_(False)


@pytest.fixture(scope="session")
def module(network: nn.Module) -> nn.Module:
    """The detector as it is exported."""
    return Wrapped(network).eval()


@pytest.fixture(scope="session")
def raw_model(module: nn.Module) -> onnx.ModelProto:
    """Its graph, fresh from the exporter. Copy it before changing it."""
    return export_raw(module, size=SIZE)


@pytest.fixture(scope="session")
def pictures() -> list[np.ndarray]:
    """Two pictures, (H, W, 3) RGB, with something in them."""
    rows, columns = np.mgrid[0:120, 0:80]
    stripes = np.stack([rows * 2, columns * 3, (rows + columns) % 256], axis=2)
    blocks = np.kron(np.random.default_rng(0).integers(0, 256, (6, 9, 3)), np.ones((20, 20, 1)))
    return [stripes.astype(np.uint8), blocks.astype(np.uint8)]


@pytest.fixture(scope="session")
def probes(pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs for comparing graphs."""
    return make_probes(pictures, InputSpec(size=SIZE))


@pytest.fixture(scope="session")
def reference(module: nn.Module, probes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What PyTorch answers on every probe, (4 + classes, anchors)."""
    with torch.no_grad():
        return {
            name: module(torch.from_numpy(image))[0].numpy() for name, image in probes.items()
        }


@pytest.fixture
def card() -> ModelCard:
    """The name tag of the detector."""
    return ModelCard("tiny", "yolo", "AGPL-3.0", NAMES, stride=32)


def run_upstream(script: str, *arguments: Path) -> None:
    """Run a script of this folder in a process of its own, in the last folder that it names."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(script), *arguments],
        env={**os.environ, "YOLO_OFFLINE": "True", "YOLO_AUTOINSTALL": "False"},
        cwd=arguments[-1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
