"""How much of what should be found on pictures a network finds: what a recovery is judged by.

A distance between outputs may fall while detections get worse, so what counts is average
precision, on pictures that were held out: against their labels, or against what the unpruned
network finds on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from runtime_bench.artifact.manifest import InputSpec
from runtime_bench.artifact.preprocess import letterbox
from runtime_bench.data.dataset import Picture
from xprune.data.batches import PictureTensor
from xprune.data.evaluate import network_accuracy
from xprune.data.pool import PicturePool
from xprune.models.yolo import Targets


@dataclass(frozen=True)
class Examination:
    """Pictures with what is to be found on them.

    Attributes:
        pictures: Their boxes are the answers.
        tensors: The same pictures as inputs.
        spec: The input.
        names: The classes.
    """

    pictures: tuple[Picture, ...]
    tensors: PictureTensor
    spec: InputSpec
    names: tuple[str, ...]

    def missed(self, decoded: nn.Module, device: torch.device) -> float:
        """Return 1 less the AP of what a decoded network finds: lower is better."""
        accuracy = network_accuracy(
            _OnDevice(decoded, device),
            self.pictures,
            self.tensors,
            spec=self.spec,
            names=self.names,
            quiet=True,
        )
        return 1 - accuracy.ap


def make_examination(
    pool: PicturePool,
    indices: Sequence[int],
    answers: Sequence[Targets],
    *,
    spec: InputSpec,
    names: tuple[str, ...],
) -> Examination | None:
    """Return the examination on some pictures; None if nothing is to be found on them.

    Args:
        pool: The pictures.
        indices: Which of them.
        answers: What is on each, in pixels of the picture.
        spec: The input.
        names: The classes.
    """
    if not any(len(answer.labels) for answer in answers):
        return None
    pictures = [
        replace(
            pool.pictures[index],
            boxes=answer.boxes.numpy(),
            labels=answer.labels.numpy(),
            crowd=np.zeros(len(answer.labels), dtype=np.bool_),
        )
        for index, answer in zip(indices, answers, strict=True)
    ]
    inputs = [
        letterbox(pool.pixels(index).permute(1, 2, 0).numpy(), spec)[0] for index in indices
    ]
    pixels = torch.from_numpy(np.rint(np.stack(inputs) * 255).astype(np.uint8))
    return Examination(tuple(pictures), PictureTensor(pixels, ()), spec, names)


class _OnDevice(nn.Module):
    def __init__(self, decoded: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.decoded, self.device = decoded, device

    def forward(self, images: Tensor) -> Tensor:
        raw: Tensor = self.decoded(images.to(self.device))
        return raw.float().cpu()
