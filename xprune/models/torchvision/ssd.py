"""The family of torchvision's SSD: default boxes on six maps, and scores that add up to 1."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from exporters.card import Preprocessing
from xprune.models.family import Architecture, Outputs
from xprune.models.targets import Targets
from xprune.models.torchvision.family import TorchvisionDetector, part_of, rows_by_centre

SSD300, SSDLITE = "ssd300_vgg16", "ssdlite320_mobilenet_v3_large"
NAMES = (SSD300, SSDLITE)
USUAL_SIDES_PX = {SSD300: 300, SSDLITE: 320}
# As torchvision's own postprocessing and transform have them.
NMS_IOUS = {SSD300: 0.45, SSDLITE: 0.55}
PREPARED = {
    # Values of 0 to 255, as Caffe had them.
    SSD300: Preprocessing("stretch", mean=(0.48235, 0.45882, 0.40784), std=(1 / 255,) * 3),
    SSDLITE: Preprocessing("stretch", mean=(0.5,) * 3, std=(0.5,) * 3),
}
# SSD300's two last maps come from convolutions that cut off the edge; below, nothing is left.
SSD300_LEAST_PX = 268
# The last layer of the first map's classes, by architecture, and its boxes at each place.
LOGITS = {
    "head.classification_head.module_list.0.weight": 4,
    "head.classification_head.module_list.0.1.weight": 6,
}
# What offsets of boxes are multiplied by, so that all are about as large.
BOX_GAINS = (10.0, 10.0, 5.0, 5.0)


class Ssd(TorchvisionDetector):
    """torchvision's SSD300 and SSDlite."""

    key = "ssd"
    names = NAMES
    # Sides may be of any length. 4 divides both usual ones, and leaves not too many to choose
    # from.
    stride = 4

    def random_network(self, name: str, classes: int) -> nn.Module:
        """Return torchvision's module; its `transform`, which resizes, is never run."""
        return self.official(name, classes)

    def classes_in(self, state: dict[str, Tensor]) -> int | None:
        """Return how many classes weights are of, the background left out."""
        found = (len(state[name]) // boxes for name, boxes in LOGITS.items() if name in state)
        scored = next(found, None)
        return None if scored is None else scored - 1

    def preprocessing(self, architecture: Architecture) -> Preprocessing:
        """Return what torchvision's transform does: both sides are made those of the input."""
        return PREPARED[architecture["name"]]

    def nms_iou(self, architecture: Architecture) -> float:
        """Return the overlap of two boxes of a class beyond which the lesser one goes."""
        return NMS_IOUS[architecture["name"]]

    def usual_size(self, architecture: Architecture) -> tuple[int, int]:
        """Return the size that the network was made for.

        Others are taken too. The default boxes of an SSD300's two coarsest maps are 100 and 300
        px apart whatever the size, so that in larger inputs some lie beyond the edge.
        """
        side_px = USUAL_SIDES_PX[architecture["name"]]
        return side_px, side_px

    def least_side_px(self, network: nn.Module) -> int:
        """Return the least side of an input of which all maps have a place at least."""
        is_ssd300 = hasattr(part_of(network, "backbone"), "scale_weight")
        return SSD300_LEAST_PX if is_ssd300 else self.stride

    def head_outputs(
        self, network: nn.Module, images: Tensor, regions: Tensor | None = None
    ) -> Outputs:
        """Run the network in eval mode, up to the raw outputs of its head.

        Returns:
            scores (B, 1 + nc, A) as logits, the background's first; boxes (B, A, 4), relative
            to the default boxes; anchors (B, A, 4), these, ltrb in pixels; feats, the maps (B,
            C, h, w).

        Raises:
            EdgeError: If the images are too small.
        """
        del regions
        self.check_size(network, (images.shape[2], images.shape[3]))
        maps = list(part_of(network, "backbone")(images).values())
        raw = part_of(network, "head")(maps)
        return {
            "scores": raw["cls_logits"].transpose(1, 2),
            "boxes": raw["bbox_regression"],
            "anchors": _default_boxes(network, images, maps),
            "feats": maps,
        }

    def picture_losses(
        self, network: nn.Module, outputs: Outputs, targets: Sequence[Targets]
    ) -> Tensor:
        """Return torchvision's training loss of each picture, as if it were alone in its batch.

        One without boxes loses nothing: three times as many places without an object count as
        there are with one.

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
            found = part_of(network, "compute_loss")([wanted], raw, [anchors], [matched])
            losses.append(sum(found.values()))
        return torch.stack(losses)

    def output_distances(self, outputs: Outputs, wanted: Outputs) -> Tensor:
        """Return how far the outputs of each picture moved, without any label.

        For scores the Kullback-Leibler divergence from what is wanted, of one choice among all
        classes and the background at each place; for the boxes how far their sides moved, in
        sides of the default box, each place weighted by the highest score that is wanted there.
        All by object: divided by the sum of these weights.
        """
        shares, aims = outputs["scores"].log_softmax(1), wanted["scores"].log_softmax(1)
        moved = functional.kl_div(shares, aims, reduction="none", log_target=True).sum((1, 2))
        weights = aims[:, 1:].amax(1).exp()
        sides = (outputs["boxes"] - wanted["boxes"]).abs() / outputs["boxes"].new_tensor(
            BOX_GAINS
        )
        result: Tensor = (moved + (weights * sides.sum(2)).sum(1)) / (1 + weights.sum(1))
        return result

    def decoded(self, network: nn.Module) -> nn.Module:
        """Return the module to export: (B, 3, H, W) → (B, 4 + nc, A).

        The first four rows are centre x, centre y, width and height in input pixels, cut off at
        the input's edge, the others the scores in [0, 1], as torchvision has them before it
        leaves any out; no background.
        """
        return _Decoded(self, network)


class _Decoded(nn.Module):
    def __init__(self, family: TorchvisionDetector, network: nn.Module) -> None:
        super().__init__()
        self.family, self.network = family, network
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.family.head_outputs(self.network, images)
        offsets, anchors = outputs["boxes"], outputs["anchors"]
        boxes = part_of(self.network, "box_coder").decode_single(
            offsets.flatten(0, 1), anchors.flatten(0, 1)
        )
        boxes = boxes.view(len(images), -1, 4)
        limits = boxes.new_tensor((images.shape[3], images.shape[2]))
        least, most = (side.clamp(min=0).minimum(limits) for side in boxes.split(2, 2))
        scores = outputs["scores"].softmax(1)[:, 1:]
        return rows_by_centre(least, most, scores)


def _default_boxes(network: nn.Module, images: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Return the default boxes (B, A, 4) of all places, ltrb in pixels, the same B times."""
    from torchvision.models.detection.image_list import ImageList

    one = ImageList(images[:1], [(images.shape[2], images.shape[3])])
    (boxes,) = part_of(network, "anchor_generator")(one, maps)
    result: Tensor = boxes.expand(len(images), -1, -1)
    return result


def _matched(network: nn.Module, boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return which box each default box is to find, (A,); -1 for none."""
    from torchvision.ops import box_iou

    if not len(boxes):
        return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
    result: Tensor = part_of(network, "proposal_matcher")(box_iou(boxes, anchors))
    return result
