"""The family of torchvision's SSD: default boxes on six maps, and scores that add up to 1."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from exporters.card import Preprocessing
from runtime_bench.artifact.manifest import Task
from runtime_bench.errors import EdgeError
from xprune.models.targets import Targets
from xprune.models.torchvision_parts import (
    COCO_CLASSES,
    check_named,
    coco_names,
    detection,
    settled,
)

FAMILY = "ssd"
TASK: Task = "detect"
# Of torchvision's code. Weights come with their own terms; their file does not say which.
LICENCE = "BSD-3-Clause"
SSD300, SSDLITE = "ssd300_vgg16", "ssdlite320_mobilenet_v3_large"
NAMES = (SSD300, SSDLITE)
USUAL_SIDES_PX = {SSD300: 300, SSDLITE: 320}
# As torchvision's own postprocessing and transform have them.
NMS_IOUS = {SSD300: 0.45, SSDLITE: 0.55}
DECODER = "yolo"
TWO_STAGES = False
PREPARED = {
    # Values of 0 to 255, as Caffe had them.
    SSD300: Preprocessing("stretch", mean=(0.48235, 0.45882, 0.40784), std=(1 / 255,) * 3),
    SSDLITE: Preprocessing("stretch", mean=(0.5,) * 3, std=(0.5,) * 3),
}
MAX_CLASSES = 10_000
# Sides may be of any length. 4 divides both usual ones, and leaves not too many to choose from.
STRIDE = 4
# SSD300's two last maps come from convolutions that cut off the edge; below, nothing is left.
SSD300_LEAST_PX = 268
# The last layer of the first map's classes, by architecture, and its boxes at each place.
LOGITS = {
    "head.classification_head.module_list.0.weight": 4,
    "head.classification_head.module_list.0.1.weight": 6,
}
# What offsets of boxes are multiplied by, so that all are about as large.
BOX_GAINS = (10.0, 10.0, 5.0, 5.0)


def known_architecture(name: str) -> dict[str, Any] | None:
    """Return the architecture that people call `name`; None if it is none of this family."""
    return {"family": FAMILY, "name": name, "nc": COCO_CLASSES} if name in NAMES else None


def check_architecture(raw: object, *, where: str = "the architecture") -> dict[str, Any]:
    """Return a fresh copy of an architecture of which every value is known.

    Args:
        raw: Its dictionary, from wherever; hostile until it is checked.
        where: What an error names.

    Returns:
        The keys family, name and nc: the number of classes, the background left out.

    Raises:
        EdgeError: If it is not one that `known_architecture` could return, but for nc.
    """
    return check_named(raw, NAMES, kind="detector", most=MAX_CLASSES, where=where)


def build_network(architecture: dict[str, Any], *, seed: int = 0) -> nn.Module:
    """Build the network of an architecture, with random weights drawn from `seed`.

    Returns:
        torchvision's module in eval mode; its `transform`, which resizes, is never run. No
        parameter asks for a gradient, no activation works in place, and the global random
        state is left as it was.

    Raises:
        EdgeError: If the architecture is not allowed.
    """
    checked = check_architecture(architecture)
    build = getattr(detection(), checked["name"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(weights=None, weights_backbone=None, num_classes=checked["nc"] + 1)
    return settled(network)


def class_names(architecture: dict[str, Any]) -> tuple[str, ...] | None:
    """Return torchvision's names of the classes of COCO, if there are so many."""
    return coco_names(architecture["nc"])


def classes_in(state: dict[str, Tensor]) -> int | None:
    """Return how many classes weights are of, the background left out."""
    found = (len(state[name]) // boxes for name, boxes in LOGITS.items() if name in state)
    scored = next(found, None)
    return None if scored is None else scored - 1


def preprocessing(architecture: dict[str, Any]) -> Preprocessing:
    """Return what torchvision's transform does: both sides are made those of the input."""
    return PREPARED[architecture["name"]]


def nms_iou(architecture: dict[str, Any]) -> float:
    """Return the overlap of two boxes of a class beyond which the lesser one goes."""
    return NMS_IOUS[architecture["name"]]


def usual_size(architecture: dict[str, Any]) -> tuple[int, int]:
    """Return the size that the network was made for.

    Others are taken too. The default boxes of an SSD300's two coarsest maps are 100 and 300 px
    apart whatever the size, so that in larger inputs some lie beyond the edge.
    """
    side_px = USUAL_SIDES_PX[architecture["name"]]
    return side_px, side_px


def network_stride(network: nn.Module) -> int:
    """Return of what an input's sides must be multiples, in pixels."""
    del network
    return STRIDE


def check_size(network: nn.Module, size: tuple[int, int]) -> None:
    """Check that all maps have a place at least, which those of SSDlite always have.

    Raises:
        EdgeError: If they have not.
    """
    is_ssd300 = hasattr(_part(network, "backbone"), "scale_weight")
    if is_ssd300 and min(size) < SSD300_LEAST_PX:
        raise EdgeError(
            f"an input of {size[0]}x{size[1]} is too small for the six maps of {SSD300}; use "
            f"--imgsz {SSD300_LEAST_PX} or more"
        )


def head_outputs(
    network: nn.Module, images: Tensor, regions: Tensor | None = None
) -> dict[str, Any]:
    """Run the network in eval mode, up to the raw outputs of its head.

    Args:
        network: From `build_network`, pruned or not.
        images: (B, 3, H, W), normalised.
        regions: Not looked at: there is one stage alone.

    Returns:
        scores (B, 1 + nc, A) as logits, the background's first; boxes (B, A, 4), relative to
        the default boxes; anchors (B, A, 4), these, ltrb in pixels; feats, the maps
        (B, C, h, w).

    Raises:
        EdgeError: If the images are too small.
    """
    del regions
    check_size(network, (images.shape[2], images.shape[3]))
    maps = list(_part(network, "backbone")(images).values())
    raw = _part(network, "head")(maps)
    return {
        "scores": raw["cls_logits"].transpose(1, 2),
        "boxes": raw["bbox_regression"],
        "anchors": _default_boxes(network, images, maps),
        "feats": maps,
    }


def picture_losses(
    network: nn.Module, outputs: dict[str, Any], targets: Sequence[Targets]
) -> Tensor:
    """Return torchvision's training loss of each picture, as if it were alone in its batch.

    Args:
        network: The network that made `outputs`.
        outputs: From `head_outputs`, for B pictures.
        targets: One per picture; a picture without boxes is allowed, and loses nothing: three
            times as many places without an object count as there are with one.

    Returns:
        (B,), the sum of the losses of classes and boxes, differentiable.
    """
    scores = outputs["scores"]
    assert len(targets) == len(scores), f"{len(targets)} targets for {len(scores)} pictures"
    losses = []
    for index, target in enumerate(targets):
        part = slice(index, index + 1)
        raw = {
            "cls_logits": scores[part].transpose(1, 2).contiguous(),
            "bbox_regression": outputs["boxes"][part],
        }
        wanted = {
            "boxes": target.boxes.to(scores).reshape(-1, 4),
            "labels": target.labels.to(scores.device) + 1,
        }
        anchors = outputs["anchors"][index]
        matched = _matched(network, wanted["boxes"], anchors)
        found = _part(network, "compute_loss")([wanted], raw, [anchors], [matched])
        losses.append(sum(found.values()))
    return torch.stack(losses)


def batch_loss(
    network: nn.Module, outputs: dict[str, Any], targets: Sequence[Targets]
) -> Tensor:
    """Return the mean loss of a batch; see `picture_losses`."""
    return picture_losses(network, outputs, targets).mean()


def output_distances(outputs: dict[str, Any], wanted: dict[str, Any]) -> Tensor:
    """Return how far the outputs of each picture moved, without any label.

    For scores the Kullback-Leibler divergence from what is wanted, of one choice among all
    classes and the background at each place; for the boxes how far their sides moved, in sides
    of the default box, each place weighted by the highest score that is wanted there. All by
    object: divided by the sum of these weights.

    Args:
        outputs: From `head_outputs`, for B pictures.
        wanted: The same of the unpruned network.

    Returns:
        (B,), 0 where nothing moved.
    """
    shares, aims = outputs["scores"].log_softmax(1), wanted["scores"].log_softmax(1)
    moved = functional.kl_div(shares, aims, reduction="none", log_target=True).sum((1, 2))
    weights = aims[:, 1:].amax(1).exp()
    sides = (outputs["boxes"] - wanted["boxes"]).abs() / outputs["boxes"].new_tensor(BOX_GAINS)
    result: Tensor = (moved + (weights * sides.sum(2)).sum(1)) / (1 + weights.sum(1))
    return result


def output_divergences(outputs: dict[str, Any], wanted: dict[str, Any]) -> Tensor:
    """Return what AP is likely to lose; see `output_distances`."""
    return output_distances(outputs, wanted)


def decoded(network: nn.Module) -> nn.Module:
    """Return the module to export: (B, 3, H, W) → (B, 4 + nc, A).

    The first four rows are centre x, centre y, width and height in input pixels, cut off at the
    input's edge, the others the scores in [0, 1], as torchvision has them before it leaves any
    out; no background.
    """
    return _Decoded(network)


class _Decoded(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        outputs = head_outputs(self.network, images)
        offsets, anchors = outputs["boxes"], outputs["anchors"]
        boxes = _part(self.network, "box_coder").decode_single(
            offsets.flatten(0, 1), anchors.flatten(0, 1)
        )
        boxes = boxes.view(len(images), -1, 4)
        limits = boxes.new_tensor((images.shape[3], images.shape[2]))
        least, most = (side.clamp(min=0).minimum(limits) for side in boxes.split(2, 2))
        scores = outputs["scores"].softmax(1)[:, 1:]
        return torch.cat(
            (((least + most) / 2).transpose(1, 2), (most - least).transpose(1, 2), scores), 1
        )


def _default_boxes(network: nn.Module, images: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Return the default boxes (B, A, 4) of all places, ltrb in pixels, the same B times."""
    from torchvision.models.detection.image_list import ImageList

    one = ImageList(images[:1], [(images.shape[2], images.shape[3])])
    (boxes,) = _part(network, "anchor_generator")(one, maps)
    result: Tensor = boxes.expand(len(images), -1, -1)
    return result


def _matched(network: nn.Module, boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return which box each default box is to find, (A,); -1 for none."""
    from torchvision.ops import box_iou

    if not len(boxes):
        return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
    result: Tensor = _part(network, "proposal_matcher")(box_iou(boxes, anchors))
    return result


def _part(network: nn.Module, name: str) -> Any:
    return getattr(network, name)
