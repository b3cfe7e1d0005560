"""With real weights and pictures: our files answer as the published networks do."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as transforms

from exporters.bundle import build_artifact
from exporters.card import ModelCard
from runtime_bench.accuracy.predictions import evaluate_artifact
from runtime_bench.accuracy.top_k import ClassAccuracy
from runtime_bench.artifact.detector import load
from runtime_bench.artifact.preprocess import read_picture
from runtime_bench.data.dataset import read_dataset
from xprune.models.detector import Detector
from xprune.models.families import CLASSIFIER
from xprune.models.load import load_detector
from xprune.models.torchvision.family import IMAGENET_MEAN, IMAGENET_STD

pytestmark = [pytest.mark.needs_torch, pytest.mark.slow]

EACH = 50
# Of all 10,000 pictures, as JPEG: the README of the folder that XPRUNE_DATA names.
PUBLISHED = {"resnet20": ("12fca82f", 0.810), "resnet56": ("4bfd9763", 0.832)}


@pytest.fixture(scope="module")
def pictures(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first test pictures of each class."""
    folder = tmp_path_factory.mktemp("cifar")
    with zipfile.ZipFile(data_folder / "cifar10_jpeg" / "test.zip") as archive:
        names = [name for name in archive.namelist() if int(Path(name).stem) < EACH]
        archive.extractall(folder, names)
    return folder / "test"


@pytest.fixture(scope="module", params=PUBLISHED)
def detector(request: pytest.FixtureRequest, data_folder: Path) -> Detector:
    """A network with its published weights."""
    digest, _ = PUBLISHED[request.param]
    path = data_folder / "weights" / f"{request.param}-{digest}.th"
    return load_detector(f"{request.param}_cifar", weights=str(path))


def test_a_published_classifier_is_exported_as_it_is(
    detector: Detector, pictures: Path, tmp_path: Path
) -> None:
    """The accuracy that is known, and on 20 pictures the scores of PyTorch and torchvision."""
    card = ModelCard(
        detector.name,
        detector.family,
        detector.licence,
        detector.names,
        detector.stride,
        task=detector.task,
        preprocessing=detector.preprocessing,
    )
    decoded = CLASSIFIER.decoded(detector.network)
    build_artifact(decoded, folder=tmp_path / "artifact", card=card, size=(32, 32))

    dataset = read_dataset(pictures)
    accuracy = evaluate_artifact(tmp_path / "artifact", dataset, progress=False)
    assert isinstance(accuracy, ClassAccuracy)
    _, published = PUBLISHED[detector.name.removesuffix("_cifar")]
    low, high = accuracy.top1_interval
    assert low <= published <= high
    artifact = load(tmp_path / "artifact", threads=1, min_score=0.0)
    for picture in dataset.pictures[:: len(dataset.pictures) // 20]:
        pixels = read_picture(picture.path)
        image = transforms.to_tensor(Image.fromarray(pixels))
        image = transforms.normalize(image, list(IMAGENET_MEAN), list(IMAGENET_STD))
        with torch.no_grad():
            wanted = detector.network(image[None]).softmax(1)[0].numpy()
        found = artifact(pixels)
        assert found.labels[0] == wanted.argmax()
        np.testing.assert_allclose(found.scores, wanted[found.labels], atol=1e-3)
