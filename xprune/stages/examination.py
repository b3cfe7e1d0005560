"""How much of what should be found on pictures a network finds: what a recovery is judged by.

A distance between outputs may fall while answers get worse, so what counts is average
precision, or of a classifier its right answers, on pictures that were held out: against their
labels, or against what the unpruned network says of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from runtime_bench.accuracy.predictions import main_figure
from runtime_bench.artifact.manifest import Manifest
from runtime_bench.artifact.preprocess import prepare
from runtime_bench.data.dataset import Dataset
from xprune.data.batches import PictureTensor, pixels_of
from xprune.data.evaluate import network_accuracy
from xprune.data.pool import PicturePool
from xprune.models.targets import Targets


@dataclass(frozen=True)
class Examination:
    """Pictures with what is to be found on them.

    Attributes:
        dataset: The pictures; their boxes and labels are the answers.
        tensors: The same pictures as inputs.
        manifest: How they became inputs, and what outputs mean.
    """

    dataset: Dataset
    tensors: PictureTensor
    manifest: Manifest

    def missed(self, decoded: nn.Module, device: torch.device) -> float:
        """Return 1 less the AP, or the top-1 accuracy, of a network: lower is better."""
        on_device = _OnDevice(decoded, device)
        accuracy = network_accuracy(
            on_device, self.dataset, self.tensors, self.manifest, quiet=True
        )
        return 1 - main_figure(accuracy)


def make_examination(
    pool: PicturePool,
    indices: Sequence[int],
    answers: Sequence[Targets],
    manifest: Manifest,
) -> Examination | None:
    """Return the examination on some pictures; None if nothing is to be found on them.

    Args:
        pool: The pictures.
        indices: Which of them.
        answers: What is on each, in pixels of the picture.
        manifest: How pictures become inputs, and what outputs mean.
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
    spec = manifest.input
    pixels = [
        pixels_of(prepare(pool.pixels(index).permute(1, 2, 0).numpy(), spec)[0], spec)
        for index in indices
    ]
    dataset = Dataset("", manifest.names, tuple(pictures), True, task=manifest.task)
    return Examination(dataset, PictureTensor(torch.stack(pixels), (), spec), manifest)


class _OnDevice(nn.Module):
    def __init__(self, decoded: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.decoded, self.device = decoded, device

    def forward(self, images: Tensor) -> Tensor:
        raw: Tensor = self.decoded(images.to(self.device))
        return raw
