"""The family of torchvision's one-stage detectors on a feature pyramid: RetinaNet and FCOS."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from xprune.models.family import Outputs
from xprune.models.targets import Targets
from xprune.models.torchvision.family import detection, divergence, part_of, rows_by_centre
from xprune.models.torchvision.pyramids import (
    BACKBONES,
    PyramidDetector,
    anchors_of,
    mobile_pyramid,
)

OFFICIAL = ("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn")
RETINANET = "retinanet:"
NAMES = (*OFFICIAL, *(RETINANET + backbone for backbone in BACKBONES))
# Levels of the pyramid come from maps at 8, 16 and 32 pixels a place, and two coarser ones.
FINEST = 8
ANCHORS = 9  # of each place in a RetinaNet; FCOS has one
LOGITS, CENTRES = "head.classification_head.cls_logits.weight", "bbox_ctrness"


class OneStage(PyramidDetector):
    """torchvision's RetinaNet and FCOS."""

    key = "one_stage"
    names = NAMES

    def random_network(self, name: str, classes: int) -> nn.Module:
        """Return torchvision's module; its `transform`, which resizes, is never run."""
        if name in OFFICIAL:
            return self.official(name, classes)
        pyramid = mobile_pyramid(name.removeprefix(RETINANET), coarser="convolutions")
        network: nn.Module = detection().RetinaNet(pyramid, classes + 1)
        return network

    def classes_in(self, state: dict[str, Tensor]) -> int | None:
        """Return how many classes weights are of, the background left out."""
        if LOGITS not in state:
            return None
        anchors = 1 if any(CENTRES in name for name in state) else ANCHORS
        return len(state[LOGITS]) // anchors - 1

    def head_outputs(
        self, network: nn.Module, images: Tensor, regions: Tensor | None = None
    ) -> Outputs:
        """Run the network in eval mode, up to the raw outputs of its head.

        Returns:
            scores (B, 1 + nc, A) as logits, the background's first; boxes (B, A, 4), relative
            to the anchors; of FCOS centres (B, A, 1) as logits; feats, the levels (B, C, h, w).
        """
        del regions
        levels = list(part_of(network, "backbone")(images).values())
        raw = part_of(network, "head")(levels)
        outputs = {"scores": raw["cls_logits"].transpose(1, 2), "boxes": raw["bbox_regression"]}
        if CENTRES in raw:
            outputs["centres"] = raw[CENTRES]
        return {**outputs, "feats": levels}

    def picture_losses(
        self, network: nn.Module, outputs: Outputs, targets: Sequence[Targets]
    ) -> Tensor:
        """Return torchvision's training loss of each picture, as if it were alone in its batch.

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
            found = part_of(network, "compute_loss")([wanted], raw, [anchors], *more)
            losses.append(sum(found.values()))
        return torch.stack(losses)

    def output_distances(self, outputs: Outputs, wanted: Outputs) -> Tensor:
        """Return how far the outputs of each picture moved, without any label.

        For scores and centres the Kullback-Leibler divergence of each from what is wanted; for
        the boxes how far their sides moved, in sides of the anchor, each place weighted by the
        highest score that is wanted there. All by object: divided by the sum of these weights.
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

    def decoded(self, network: nn.Module) -> nn.Module:
        """Return the module to export: (B, 3, H, W) → (B, 4 + nc, A).

        The first four rows are centre x, centre y, width and height in input pixels, the others
        the scores in [0, 1], as torchvision has them before it leaves any out; no background.
        """
        return _Decoded(self, network)


class _Decoded(nn.Module):
    def __init__(self, family: PyramidDetector, network: nn.Module) -> None:
        super().__init__()
        self.family, self.network = family, network
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.family.head_outputs(self.network, images)
        anchors = _anchors(self.network, outputs["feats"])
        scores, coder = outputs["scores"][:, 1:].sigmoid(), part_of(self.network, "box_coder")
        if "centres" in outputs:
            centres = outputs["centres"].sigmoid().transpose(1, 2)
            scores = (scores * centres).sqrt()
            boxes = coder.decode(outputs["boxes"], anchors)
        else:
            many = anchors.repeat(len(images), 1)
            boxes = coder.decode_single(outputs["boxes"].flatten(0, 1), many)
            boxes = boxes.view(len(images), -1, 4)
        return rows_by_centre(boxes[..., :2], boxes[..., 2:], scores)


def _anchors(network: nn.Module, levels: Sequence[Tensor]) -> Tensor:
    """Return the anchors (A, 4) of all places, ltrb in pixels."""
    height, width = (FINEST * side for side in levels[0].shape[2:])
    anchors = anchors_of(part_of(network, "anchor_generator"), levels, (height, width))
    return anchors.to(levels[0])
