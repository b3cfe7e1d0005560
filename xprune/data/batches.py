"""Pictures as a network takes them, and what it should find on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from runtime_bench.artifact.decode import decode_yolo
from runtime_bench.artifact.manifest import InputSpec
from runtime_bench.artifact.preprocess import letterbox, read_picture
from runtime_bench.data.dataset import Picture
from runtime_bench.progress import track
from xprune.models.yolo import Targets

TARGET_IOU = 0.7
# Own detections are rounded to quarters of a pixel. Where a box is exactly the one that is
# predicted, the loss has a kink, and rounding errors would choose its gradient: scores changed
# by 2 % with the size of the batch.
TARGET_STEPS_PER_PX = 4


@dataclass(frozen=True)
class PictureTensor:
    """Letterboxed pictures in memory.

    Attributes:
        pixels: (P, 3, H, W) uint8: a quarter of the memory that floats would take.
        labels: What the data set says is on each, in input pixels.
    """

    pixels: torch.Tensor
    labels: tuple[Targets, ...]

    def images(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Return pictures as (B, 3, H, W) float32 in [0, 1]."""
        return self.pixels[start:stop].to(torch.float32) / 255

    def batches(self, size: int) -> Iterator[torch.Tensor]:
        """Yield all pictures in batches of at most `size`."""
        for start in range(0, len(self.pixels), size):
            yield self.images(start, start + size)


def read_pictures(pictures: Sequence[Picture], spec: InputSpec, *, label: str) -> PictureTensor:
    """Read and letterbox pictures; boxes of crowds are no targets."""
    pixels, targets = [], []
    for picture in track(pictures, label=label):
        image, placement = letterbox(read_picture(picture.path), spec)
        pixels.append(torch.from_numpy(np.rint(image * 255).astype(np.uint8)))
        single = ~picture.crowd
        targets.append(
            Targets(
                boxes=torch.from_numpy(placement.to_input(picture.boxes[single])),
                labels=torch.from_numpy(picture.labels[single]),
            )
        )
    return PictureTensor(torch.stack(pixels), tuple(targets))


def own_detections(
    decoded: nn.Module, pictures: PictureTensor, *, min_score: float, batch: int
) -> tuple[Targets, ...]:
    """Return what the network itself finds: the targets where pictures have no labels.

    Boxes are rounded to a quarter of a pixel.

    Args:
        decoded: Maps (B, 3, H, W) to (B, 4 + classes, anchors).
        pictures: The pictures.
        min_score: The least score that counts as found.
        batch: Pictures in one forward pass.
    """
    found = []
    batches = -(-len(pictures.pixels) // batch)
    with torch.no_grad():
        for images in track(pictures.batches(batch), label="Detecting targets", total=batches):
            for raw in decoded(images):
                detections = decode_yolo(
                    raw.numpy(), min_score=min_score, iou=TARGET_IOU, max_boxes=300
                )
                boxes = np.rint(detections.boxes * TARGET_STEPS_PER_PX) / TARGET_STEPS_PER_PX
                found.append(
                    Targets(torch.from_numpy(boxes), torch.from_numpy(detections.labels))
                )
    return tuple(found)
