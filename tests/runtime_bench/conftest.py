"""What the tests of the device's commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.runtime_bench.device_commands import write_coco


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
