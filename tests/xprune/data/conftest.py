"""Small COCO data sets of noise, every picture another one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAMES = ("owl", "cat", "dog")


class Maker:
    """Writes data sets under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drawn = 0

    def picture(self, path: Path, size: tuple[int, int] = (30, 40)) -> None:
        """Write noise of (height, width) that no other picture shows."""
        self.drawn += 1
        noise = np.random.default_rng(self.drawn).integers(0, 256, (*size, 3), np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(path)

    def coco(self, name: str, count: int, *, names: Sequence[str] = NAMES) -> Path:
        """Write pictures with a box of each class, the last one a crowd."""
        images, annotations = [], []
        for index in range(count):
            file_name = f"{name}_{index}.png"
            self.picture(self.folder / name / "images" / file_name)
            images.append({"id": index, "file_name": file_name, "height": 30, "width": 40})
            for label in range(len(names)):
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": index,
                        "category_id": label,
                        "bbox": [2 + label, 3, 10 + index % 5, 12],
                        "iscrowd": int(label == len(names) - 1),
                    }
                )
        categories = [{"id": index, "name": name} for index, name in enumerate(names)]
        path = self.folder / name / "instances.json"
        path.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": categories})
        )
        return path

    def unlabelled(self, name: str, count: int) -> Path:
        """Write a plain folder of pictures."""
        for index in range(count):
            self.picture(self.folder / name / f"{name}_{index}.png")
        return self.folder / name


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """A writer of data sets in a folder of this test's own."""
    return Maker(tmp_path)
