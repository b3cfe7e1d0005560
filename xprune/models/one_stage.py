"""The family of torchvision's one-stage detectors on a feature pyramid: RetinaNet and FCOS."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from exporters.card import Preprocessing
from runtime_bench.artifact.manifest import Task
from runtime_bench.errors import EdgeError
from xprune.models.pyramids import BACKBONES, anchors_of, mobile_pyramid
from xprune.models.targets import Targets
from xprune.models.torchvision_parts import (
    COCO_CLASSES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    check_named,
    coco_names,
    detection,
    divergence,
    settled,
)

FAMILY = "one_stage"
TASK: Task = "detect"
# Of torchvision's code. Weights come with their own terms; their file does not say which.
LICENCE = "BSD-3-Clause"
# As torchvision's own postprocessing has it.
NMS_IOU = 0.5
DECODER = "yolo"
TWO_STAGES = False
OFFICIAL = ("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn")
RETINANET = "retinanet:"
NAMES = (*OFFICIAL, *(RETINANET + backbone for backbone in BACKBONES))
MAX_CLASSES = 10_000
USUAL_SIDE_PX = 640
# Levels of the pyramid come from maps at 8, 16 and 32 pixels a place, and two coarser ones.
STRIDE, FINEST = 32, 8
LEAST_PX = 64
ANCHORS = 9  # of each place in a RetinaNet; FCOS has one
LOGITS, CENTRES = "head.classification_head.cls_logits.weight", "bbox_ctrness"


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
    name, classes = checked["name"], checked["nc"] + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in OFFICIAL:
            build = getattr(detection(), name)
            network = build(weights=None, weights_backbone=None, num_classes=classes)
        else:
            pyramid = mobile_pyramid(name.removeprefix(RETINANET), coarser="convolutions")
            network = detection().RetinaNet(pyramid, classes)
    return settled(network)


def class_names(architecture: dict[str, Any]) -> tuple[str, ...] | None:
    """Return torchvision's names of the classes of COCO, if there are so many."""
    return coco_names(architecture["nc"])


def classes_in(state: dict[str, Tensor]) -> int | None:
    """Return how many classes weights are of, the background left out."""
    if LOGITS not in state:
        return None
    anchors = 1 if any(CENTRES in name for name in state) else ANCHORS
    return len(state[LOGITS]) // anchors - 1


def preprocessing(architecture: dict[str, Any]) -> Preprocessing:
    """Return what torchvision's transform does, for an input whose size stays the same."""
    del architecture
    return Preprocessing(resize="fit", mean=IMAGENET_MEAN, std=IMAGENET_STD)


def nms_iou(architecture: dict[str, Any]) -> float:
    """Return the overlap of two boxes of a class beyond which the lesser one goes."""
    del architecture
    return NMS_IOU


def usual_size(architecture: dict[str, Any]) -> tuple[int, int]:
    """Return a size that small machines can take; torchvision's own is 800 to 1,333 px."""
    del architecture
    return USUAL_SIDE_PX, USUAL_SIDE_PX


def network_stride(network: nn.Module) -> int:
    """Return of what an input's sides must be multiples, in pixels."""
    del network
    return STRIDE


def check_size(network: nn.Module, size: tuple[int, int]) -> None:
    """Check that the coarser levels have something to look at.

    Raises:
        EdgeError: If they have not.
    """
    del network
    if min(size) < LEAST_PX:
        raise EdgeError(
            f"an input of {size[0]}x{size[1]} is too small for a pyramid of five levels; use "
            f"--imgsz {LEAST_PX} or more"
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
        the anchors; of FCOS centres (B, A, 1) as logits; feats, the levels (B, C, h, w).
    """
    del regions
    levels = list(_part(network, "backbone")(images).values())
    raw = _part(network, "head")(levels)
    outputs = {"scores": raw["cls_logits"].transpose(1, 2), "boxes": raw["bbox_regression"]}
    if CENTRES in raw:
        outputs["centres"] = raw[CENTRES]
    return {**outputs, "feats": levels}


def picture_losses(
    network: nn.Module, outputs: dict[str, Any], targets: Sequence[Targets]
) -> Tensor:
    """Return torchvision's training loss of each picture, as if it were alone in its batch.

    Args:
        network: The network that made `outputs`.
        outputs: From `head_outputs`, for B pictures.
        targets: One per picture; a picture without boxes is allowed.

    Returns:
        (B,), the sum of the losses of classes, boxes and centres, differentiable.
    """
    scores = outputs["scores"]
    assert len(targets) == len(scores), f"{len(targets)} targets for {len(scores)} pictures"
    anchors = _anchors(network, outputs["feats"])
    # FCOS assigns an object to a level by its size.
    by_level = [level.shape[2] * level.shape[3] for level in outputs["feats"]]
    more = (by_level,) if "centres" in outputs else ()
    losses = []
    for index, target in enumerate(targets):
        part = slice(index, index + 1)
        raw = {"cls_logits": scores[part].transpose(1, 2)}
        raw["bbox_regression"] = outputs["boxes"][part]
        if "centres" in outputs:
            raw[CENTRES] = outputs["centres"][part]
        wanted = {
            "boxes": target.boxes.to(scores).reshape(-1, 4),
            "labels": target.labels.to(scores.device) + 1,
        }
        found = _part(network, "compute_loss")([wanted], raw, [anchors], *more)
        losses.append(sum(found.values()))
    return torch.stack(losses)


def batch_loss(
    network: nn.Module, outputs: dict[str, Any], targets: Sequence[Targets]
) -> Tensor:
    """Return the mean loss of a batch; see `picture_losses`."""
    return picture_losses(network, outputs, targets).mean()


def output_distances(outputs: dict[str, Any], wanted: dict[str, Any]) -> Tensor:
    """Return how far the outputs of each picture moved, without any label.

    For scores and centres the Kullback-Leibler divergence of each from what is wanted; for the
    boxes how far their sides moved, in sides of the anchor, each place weighted by the highest
    score that is wanted there. All by object: divided by the sum of these weights.

    Args:
        outputs: From `head_outputs`, for B pictures.
        wanted: The same of the unpruned network.

    Returns:
        (B,), 0 where nothing moved.
    """
    weights = wanted["scores"].sigmoid()[:, 1:].amax(1)
    moved = divergence(outputs["scores"], wanted["scores"]).sum((1, 2))
    sides = (outputs["boxes"] - wanted["boxes"]).abs().sum(2)
    moved = moved + (weights * sides).sum(1)
    if "centres" in outputs:
        centres = divergence(outputs["centres"], wanted["centres"]).sum(2)
        moved = moved + (weights * centres).sum(1)
    result: Tensor = moved / (1 + weights.sum(1))
    return result


def output_divergences(outputs: dict[str, Any], wanted: dict[str, Any]) -> Tensor:
    """Return what AP is likely to lose; see `output_distances`."""
    return output_distances(outputs, wanted)


def decoded(network: nn.Module) -> nn.Module:
    """Return the module to export: (B, 3, H, W) → (B, 4 + nc, A).

    The first four rows are centre x, centre y, width and height in input pixels, the others the
    scores in [0, 1], as torchvision has them before it leaves any out; no background.
    """
    return _Decoded(network)


class _Decoded(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        outputs = head_outputs(self.network, images)
        anchors = _anchors(self.network, outputs["feats"])
        scores, coder = outputs["scores"][:, 1:].sigmoid(), _part(self.network, "box_coder")
        if "centres" in outputs:
            centres = outputs["centres"].sigmoid().transpose(1, 2)
            scores = (scores * centres).sqrt()
            boxes = coder.decode(outputs["boxes"], anchors)
        else:
            many = anchors.repeat(len(images), 1)
            boxes = coder.decode_single(outputs["boxes"].flatten(0, 1), many)
            boxes = boxes.view(len(images), -1, 4)
        least, most = boxes[..., :2], boxes[..., 2:]
        return torch.cat(
            (((least + most) / 2).transpose(1, 2), (most - least).transpose(1, 2), scores), 1
        )


def _anchors(network: nn.Module, levels: Sequence[Tensor]) -> Tensor:
    """Return the anchors (A, 4) of all places, ltrb in pixels."""
    height, width = (FINEST * side for side in levels[0].shape[2:])
    anchors = anchors_of(_part(network, "anchor_generator"), levels, (height, width))
    return anchors.to(levels[0])


def _part(network: nn.Module, name: str) -> Any:
    return getattr(network, name)
