"""Average precision of a PyTorch network, by the same decoder and scorer as an artifact's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from runtime_bench.accuracy.coco import Accuracy, average_precision
from runtime_bench.artifact.decode import decode_yolo
from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.manifest import InputSpec, OutputSpec
from runtime_bench.artifact.preprocess import place
from runtime_bench.data.dataset import Picture
from runtime_bench.progress import track
from xprune.data.batches import PictureTensor


def network_accuracy(
    decoded: nn.Module,
    pictures: Sequence[Picture],
    tensors: PictureTensor,
    *,
    spec: InputSpec,
    names: Sequence[str],
    batch: int = 16,
    quiet: bool = False,
) -> Accuracy:
    """Score what a network finds.

    Args:
        decoded: Maps (B, 3, H, W) to (B, 4 + classes, anchors).
        pictures: Labelled, labels indexing `names`.
        tensors: The same pictures from `read_pictures`.
        spec: How they were letterboxed.
        names: The classes.
        batch: Pictures in one forward pass.
        quiet: Show no progress.
    """
    limits = OutputSpec()
    found: list[Detections] = []
    batches = -(-len(pictures) // batch)
    with torch.no_grad():
        for images in track(
            tensors.batches(batch), label="Scoring pictures", total=batches, quiet=quiet
        ):
            for raw in decoded(images):
                placement = place(pictures[len(found)].size, spec)
                detections = decode_yolo(
                    raw.numpy(),
                    min_score=limits.min_score,
                    iou=limits.iou,
                    max_boxes=limits.max_boxes,
                )
                boxes = placement.to_picture(detections.boxes)
                found.append(replace(detections, boxes=boxes))
    return average_precision(pictures, found, names)
