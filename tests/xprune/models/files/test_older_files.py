"""torchvision's older weight files, held to how torchvision itself loads them."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.detection._utils import overwrite_eps
from torchvision.ops import FrozenBatchNorm2d

from xprune.models import load as loading
from xprune.models.families import MODELS, family_of, find_architecture
from xprune.models.files.older_files import NO_EPSILON, drop_epsilon
from xprune.models.load import load_detector

pytestmark = pytest.mark.needs_torch

NAMES = ["retinanet:shufflenet_v2_x0_5", "fasterrcnn:shufflenet_v2_x0_5"]


def network_of(name: str, seed: int) -> nn.Module:
    """Return a network with random weights, whose normalisations have seen something."""
    architecture = find_architecture(name)
    network = MODELS[family_of(architecture)].build_network(architecture, seed=seed)
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(1e-6, 2e-4)
            module.running_mean.normal_()
    return network


def with_older_names(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a state dict as files of before 2022 name it, written down from torchvision's."""
    state = {}
    for name, tensor in network.state_dict().items():
        name = re.sub(r"((?:inner|layer)_blocks\.\d+)\.0\.", r"\1.", name)
        name = re.sub(r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv.", name)
        name = re.sub(r"(_head\.conv)\.(\d)\.0\.", lambda m: f"{m[1]}.{2 * int(m[2])}.", name)
        state[name] = tensor
    return state


@pytest.mark.parametrize("name", NAMES)
def test_older_names_are_read_as_torchvision_reads_them(name: str, tmp_path: Path):
    """Its own loading renames where a file says no version."""
    network, upstream = network_of(name, 1), network_of(name, 2)
    state = with_older_names(network)
    assert set(state) != set(network.state_dict())
    torch.save(state, tmp_path / "w.pth")
    # Files of a version remember it, and only those without one are renamed.
    upstream.load_state_dict(OrderedDict(state))

    detector = load_detector(name, weights=str(tmp_path / "w.pth"))

    for key, value in upstream.state_dict().items():
        assert torch.equal(detector.network.state_dict()[key], value), key


def test_names_that_a_network_has_stay(tmp_path: Path):
    """FCOS has layers today that are called as others were once."""
    name = "retinanet:shufflenet_v2_x0_5"
    network = network_of(name, 1)
    torch.save(network.state_dict(), tmp_path / "w.pth")

    detector = load_detector(name, weights=str(tmp_path / "w.pth"))

    for key, value in network.state_dict().items():
        assert torch.equal(detector.network.state_dict()[key], value), key


def test_without_epsilon_a_normalisation_computes_as_torchvision_has_it():
    """Held to FrozenBatchNorm2d with the epsilon that `overwrite_eps` sets."""
    norm = network_of(NAMES[0], 3).backbone.body.conv1[1]
    norm.weight.normal_()
    norm.bias.normal_()
    frozen = FrozenBatchNorm2d(norm.num_features)
    frozen.load_state_dict(
        {key: value for key, value in norm.state_dict().items() if "batches" not in key}
    )
    images = torch.rand(2, norm.num_features, 8, 8)
    with_epsilon = frozen(images)
    overwrite_eps(frozen, 0.0)
    drop_epsilon(norm)

    assert not torch.allclose(with_epsilon, frozen(images), rtol=0.01)
    torch.testing.assert_close(norm(images), frozen(images), rtol=1e-5, atol=1e-4)


def test_the_files_of_which_that_is_known_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By how their SHA-256 begins; others keep it."""
    name = "retinanet:shufflenet_v2_x0_5"
    network = network_of(name, 4)
    path = tmp_path / "w.pth"
    torch.save(network.state_dict(), path)
    kept = load_detector(name, weights=str(path)).network.state_dict()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(loading, "NO_EPSILON", (*NO_EPSILON, digest[:8]))

    found = load_detector(name, weights=str(path)).network.state_dict()

    norm = "backbone.body.conv1.1"
    assert torch.equal(kept[f"{norm}.weight"], network.state_dict()[f"{norm}.weight"])
    drop_epsilon(network)
    for key, value in network.state_dict().items():
        assert torch.equal(found[key], value), key


def test_the_files_are_those_that_torchvision_sets_an_epsilon_for():
    """Their names end with how their SHA-256 begins."""
    from torchvision.models import get_model_weights

    urls = [
        get_model_weights(name).COCO_V1.url
        for name in ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
    ]

    assert [url.rpartition("-")[2] for url in urls] == [f"{d}.pth" for d in NO_EPSILON]
