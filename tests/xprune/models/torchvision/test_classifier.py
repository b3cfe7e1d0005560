"""Classifiers are torchvision's own, to the last bit; those for CIFAR-10 are as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch.nn import functional
from torchvision.transforms._presets import ImageClassification

from runtime_bench.artifact.preprocess import prepare
from runtime_bench.errors import EdgeError
from xprune.models.families import CLASSIFIER, MODELS, check_architecture, find_architecture
from xprune.models.targets import Targets
from xprune.models.torchvision import classifier

# Weights without the biases of convolutions, in millions: He et al. 2015, table 6.
PUBLISHED = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85}


@pytest.mark.parametrize("name", classifier.TORCHVISION)
def test_torchvisions_networks_are_its_own(name: str):
    """The same names of weights, and with the same weights the same answer."""
    ours = CLASSIFIER.build_network({"family": "classifier", "name": name, "nc": 7}, seed=3)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=7).eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize(("depth", "millions"), PUBLISHED.items())
def test_cifar_networks_have_the_published_size(depth: int, millions: float):
    """Layers with weights, and their number."""
    network = CLASSIFIER.build_network(find_architecture(f"resnet{depth}_cifar"))
    layers = [m for m in network.modules() if hasattr(m, "weight") and m.weight.ndim > 1]

    assert len(layers) == depth
    count = sum(weight.numel() for weight in network.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.01)


def test_a_shortcut_takes_every_other_pixel_between_zeros():
    """Option A, written out by hand."""
    from xprune.models.torchvision.resnet_cifar import ZeroPaddedShortcut

    given = torch.arange(2 * 4 * 4, dtype=torch.float32).view(1, 2, 4, 4)

    found = ZeroPaddedShortcut(4, 2)(given)

    assert found.shape == (1, 6, 2, 2)
    assert found[0, 2].tolist() == [[0, 2], [8, 10]]
    assert found[0, 3].tolist() == [[16, 18], [24, 26]]
    assert not found[0, [0, 1, 4, 5]].any()


def test_random_weights_are_of_their_seed_and_leave_others_alone():
    """The same seed, the same weights; PyTorch's own stream of numbers goes on as it was."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (
        CLASSIFIER.build_network(find_architecture("resnet20_cifar"), seed=seed)
        for seed in (1, 1, 2)
    )

    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one.conv1.weight, same.conv1.weight)
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


@pytest.mark.parametrize(
    "raw",
    [
        {"family": "classifier", "name": "resnet18"},
        {"family": "classifier", "name": "os.system", "nc": 3},
        {"family": "classifier", "name": ["resnet18"], "nc": 3},
        {"family": "classifier", "name": "resnet18", "nc": 10**9},
        {"family": "classifier", "name": "resnet18", "nc": True},
        {"family": "classifier", "name": "resnet18", "nc": 3, "more": 1},
        {"family": "telescope", "name": "resnet18", "nc": 3},
        {"family": {}, "name": "resnet18", "nc": 3},
    ],
)
def test_what_is_not_known_is_not_built(raw: dict):
    """One line, whatever stands there."""
    with pytest.raises(EdgeError) as refusal:
        check_architecture(raw, where="a file")

    assert "\n" not in str(refusal.value)


def outputs(count: int, classes: int, seed: int) -> dict[str, object]:
    """Logits drawn by chance."""
    generator = torch.Generator().manual_seed(seed)
    return {"scores": torch.randn(count, classes, generator=generator)}


def test_losses_are_pytorchs_cross_entropy():
    """Of each picture alone, and their mean."""
    given = outputs(4, 6, 0)
    labels = [3, 0, 5, 5]
    targets = [Targets(torch.zeros(1, 4), torch.tensor([label])) for label in labels]
    scores = given["scores"]

    each = CLASSIFIER.picture_losses(torch.nn.Identity(), given, targets)

    for found, score, label in zip(each, scores, labels, strict=True):
        assert found == pytest.approx(float(-score.log_softmax(0)[label]), rel=1e-6)
    assert CLASSIFIER.batch_loss(torch.nn.Identity(), given, targets) == each.mean()


def test_distances_are_pytorchs_divergence():
    """`kl_div` of each picture; 0 where nothing moved."""
    wanted, moved = outputs(4, 6, 0), outputs(4, 6, 1)

    found = CLASSIFIER.output_distances(moved, wanted)

    expected = functional.kl_div(
        moved["scores"].log_softmax(1), wanted["scores"].softmax(1), reduction="none"
    ).sum(1)
    torch.testing.assert_close(found, expected)
    assert CLASSIFIER.output_distances(wanted, wanted).abs().max() == 0


@pytest.mark.parametrize("size", [(300, 400), (500, 333), (256, 256), (97, 131)])
def test_preprocessing_is_torchvisions_preset(size: tuple[int, int]):
    """Resize to 256 with antialias, the middle 224, mean and deviation: to 1e-4."""
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    architecture = find_architecture("resnet18")
    spec = CLASSIFIER.preprocessing(architecture).at(CLASSIFIER.usual_size(architecture))

    found, _ = prepare(pixels, spec)

    expected = ImageClassification(crop_size=224)(Image.fromarray(pixels)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_classes_are_those_of_the_training():
    """ImageNet's for a thousand, CIFAR-10's for ten, unknown for any other number."""
    imagenet = CLASSIFIER.class_names(find_architecture("mobilenet_v2"))
    cifar = CLASSIFIER.class_names(find_architecture("resnet20_cifar"))

    assert imagenet is not None
    assert (len(imagenet), imagenet[0]) == (1000, "tench")
    assert cifar is not None
    assert (len(cifar), cifar[3]) == (10, "cat")
    assert CLASSIFIER.class_names({"family": "classifier", "name": "resnet18", "nc": 5}) is None


def test_the_head_is_seen_through_a_pruned_network():
    """What the last layer read, and what it made of it."""
    network = CLASSIFIER.build_network(find_architecture("resnet20_cifar"))
    images = torch.rand(2, 3, 32, 32)

    with torch.no_grad():
        found = CLASSIFIER.head_outputs(network, images)

    assert found["scores"].shape == (2, 10)
    assert found["feats"][0].shape == (2, 64, 1, 1)
    torch.testing.assert_close(network.linear(found["feats"][0].flatten(1)), found["scores"])


def test_families_are_told_by_name():
    """A name leads to one of them, and what it says can be built."""
    assert set(MODELS) == {"yolo", "one_stage", "two_stage", "ssd", "classifier"}
    assert find_architecture("resnet50")["family"] == "classifier"
    assert "backbone" in find_architecture("yolov8n")
    assert find_architecture("resnet51") is None
