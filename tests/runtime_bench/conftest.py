"""What the tests of the device's commands share."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from runtime_bench.artifact.manifest import file_entry, read_manifest, write_manifest
from tests.runtime_bench.device_commands import write_coco


@pytest.fixture
def with_pictures(repository: Path, tmp_path: Path) -> Path:
    """The tiny artifact with two stored pictures."""
    folder = tmp_path / "with_pictures"
    shutil.copytree(repository / "tests" / "data" / "tiny_artifact", folder)
    manifest = read_manifest(folder)
    names = ("picture_1.jpg", "picture_2.jpg")
    for name, colour in zip(names, ("red", "blue"), strict=True):
        Image.new("RGB", (128, 64), colour).save(folder / name)
    files = manifest.files | {name: file_entry(folder / name) for name in names}
    write_manifest(folder, replace(manifest, files=files, pictures=names))
    return folder


@pytest.fixture
def artifact(repository: Path) -> str:
    """A detector that always finds one "square", with the mean of red as its score."""
    return str(repository / "tests" / "data" / "tiny_artifact")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A COCO set of two pictures, labelled as the artifact will answer."""
    folder = tmp_path / "coco"
    (folder / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (128, 64), (200, 0, 0)).save(folder / "images" / name)
    write_coco(folder, bbox=[16, 8, 32, 32])
    return folder
