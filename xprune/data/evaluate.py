"""Accuracy of a PyTorch network, by the same decoder and scorer as an artifact's."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from runtime_bench.accuracy.predictions import Scored, score
from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.manifest import Manifest
from runtime_bench.artifact.preprocess import place
from runtime_bench.data.dataset import Dataset
from runtime_bench.progress import track
from xprune.data.batches import PictureTensor, answers


def network_accuracy(
    decoded: nn.Module,
    dataset: Dataset,
    tensors: PictureTensor,
    manifest: Manifest,
    *,
    batch: int = 16,
    quiet: bool = False,
) -> Scored:
    """Score what a network says of pictures.

    Args:
        decoded: Maps (B, 3, H, W) to what `manifest` says.
        dataset: Labelled, labels indexing the names of `manifest`.
        tensors: The same pictures from `read_pictures`.
        manifest: How they became inputs, and what outputs mean.
        batch: Pictures in one forward pass.
        quiet: Show no progress.
    """
    found: list[Detections] = []
    batches = -(-len(dataset.pictures) // batch)
    for images in track(
        tensors.batches(batch), label="Scoring pictures", total=batches, quiet=quiet
    ):
        for answer in answers(decoded, images, manifest):
            placement = place(dataset.pictures[len(found)].size, manifest.input)
            found.append(replace(answer, boxes=placement.to_picture(answer.boxes)))
    return score(dataset, found)
