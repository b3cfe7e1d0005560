"""Pictures as a network takes them, and what it should find on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.detector import read_answer
from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import Manifest
from runtime_bench.artifact.preprocess import prepare, read_picture
from runtime_bench.data.dataset import Picture
from runtime_bench.progress import track
from xprune.models.targets import Targets

# Own detections are rounded to quarters of a pixel. Where a box is exactly the one that is
# predicted, the loss has a kink, and rounding errors would choose its gradient: scores changed
# by 2 % with the size of the batch.
TARGET_STEPS_PER_PX = 4
NOT_MOVED, NOT_SCALED = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class PictureTensor:
    """Pictures in memory, of the size of an input.

    Attributes:
        pixels: (P, 3, H, W) uint8: a quarter of the memory that floats would take. Where
            resizing leaves values between whole ones, they are rounded.
        labels: What the data set says is on each, in input pixels.
        spec: How they were made, and how their values are normalised; None for [0, 1].
    """

    pixels: torch.Tensor
    labels: tuple[Targets, ...]
    spec: InputSpec | None = None

    def images(self, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Return pictures as inputs (B, 3, H, W) float32."""
        values = self.pixels[start:stop].to(torch.float32) / 255
        return values if self.spec is None else normalised(values, self.spec)

    def batches(self, size: int) -> Iterator[torch.Tensor]:
        """Yield all pictures in batches of at most `size`."""
        for start in range(0, len(self.pixels), size):
            yield self.images(start, start + size)


def normalised(values: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """Return values (…, 3, H, W) in [0, 1] as a model wants them."""
    if (spec.mean, spec.std) == (NOT_MOVED, NOT_SCALED):
        return values
    mean, std = (torch.tensor(three)[:, None, None] for three in (spec.mean, spec.std))
    return (values - mean) / std


def pixels_of(image: NDArray[np.float32], spec: InputSpec) -> torch.Tensor:
    """Return the pixels (3, H, W) uint8, rounded, that an input (3, H, W) was made from."""
    mean, std = (np.array(three, np.float32)[:, None, None] for three in (spec.mean, spec.std))
    return torch.from_numpy(np.rint((image * std + mean) * 255).astype(np.uint8))


def read_pictures(pictures: Sequence[Picture], spec: InputSpec, *, label: str) -> PictureTensor:
    """Read pictures and bring them to the input's size; boxes of crowds are no targets."""
    pixels, targets = [], []
    for picture in track(pictures, label=label):
        image, placement = prepare(read_picture(picture.path), spec)
        pixels.append(pixels_of(image, spec))
        single = ~picture.crowd
        targets.append(
            Targets(
                boxes=torch.from_numpy(placement.to_input(picture.boxes[single])),
                labels=torch.from_numpy(picture.labels[single]),
            )
        )
    return PictureTensor(torch.stack(pixels), tuple(targets), spec)


def labelled_targets(picture: Picture) -> Targets:
    """Return what the data set says is on a picture, in its pixels; crowds are no targets."""
    single = ~picture.crowd
    return Targets(
        torch.from_numpy(picture.boxes[single]), torch.from_numpy(picture.labels[single])
    )


def own_answers(
    decoded: nn.Module, pictures: PictureTensor, manifest: Manifest, *, batch: int
) -> tuple[Targets, ...]:
    """Return what the network itself says: the targets where pictures have no labels.

    Boxes are rounded to a quarter of a pixel; of a classifier, its best class counts.

    Args:
        decoded: Maps (B, 3, H, W) to what `manifest` says.
        pictures: The pictures.
        manifest: What the outputs mean, and from which score on something counts as found.
        batch: Pictures in one forward pass.
    """
    found = []
    batches = -(-len(pictures.pixels) // batch)
    for images in track(pictures.batches(batch), label="Finding targets", total=batches):
        found += [own_targets(answer) for answer in answers(decoded, images, manifest)]
    return tuple(found)


def own_targets(answer: Detections) -> Targets:
    """Return what a network says of a picture as targets for another one."""
    boxes = np.rint(answer.boxes * TARGET_STEPS_PER_PX) / TARGET_STEPS_PER_PX
    return Targets(torch.from_numpy(boxes), torch.from_numpy(answer.labels))


@torch.no_grad()
def answers(
    decoded: nn.Module, images: torch.Tensor, manifest: Manifest
) -> Iterator[Detections]:
    """Yield what a network says of each of some inputs (B, 3, H, W), in their pixels.

    Args:
        decoded: Maps (B, 3, H, W) to what `manifest` says of a single picture.
        images: The inputs.
        manifest: What the outputs mean.
    """
    (name,) = manifest.output.names
    for raw in decoded(images).float().cpu().numpy():
        yield read_answer({name: raw[None]}, manifest)
