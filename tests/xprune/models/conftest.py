"""A small YOLO with two levels, and an Ultralytics checkpoint of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from xprune.models.families import YOLO
from xprune.models.ultralytics.upstream import tasks

SMALL: dict[str, Any] = {
    "nc": 3,
    "backbone": [
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 2, "C2f", [16, True]],
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "SPPF", [32, 5]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 3], 1, "Concat", [1]],
        [-1, 1, "C2f", [32]],
        [[8, 5], 1, "Detect", ["nc"]],
    ],
}
NAMES = ("cat", "dog", "owl")


@pytest.fixture
def architecture() -> dict[str, Any]:
    """A fresh copy of the small architecture."""
    return copy.deepcopy(SMALL)


@pytest.fixture(scope="session")
def network() -> torch.nn.Module:
    """The small network, its batch norms with statistics of their own; do not change it."""
    built = YOLO.build_network(copy.deepcopy(SMALL), seed=1)
    generator = torch.Generator().manual_seed(2)
    for module in built.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight):
                assert tensor is not None
                tensor.data.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return built


@pytest.fixture
def ultralytics_checkpoint(tmp_path: Path, network: torch.nn.Module) -> Path:
    """A file as Ultralytics' trainer leaves it: whole modules, in half precision."""
    model = tasks().DetectionModel(copy.deepcopy(SMALL), ch=3, verbose=False)
    model.load_state_dict(network.state_dict())
    model.names = dict(enumerate(NAMES))
    path = tmp_path / "best.pt"
    torch.save({"epoch": -1, "model": None, "ema": model.half(), "train_args": {}}, path)
    return path
