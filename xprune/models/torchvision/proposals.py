"""The first stage of a Faster R-CNN: where is there something to look at?"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from exporters.heads.regions import LOWEST, best_regions
from xprune.models.torchvision.pyramids import anchors_of


def proposed(network: nn.Module, images: Tensor, named: dict[str, Tensor]) -> dict[str, Any]:
    """Return what the first stage says: objectness, deltas, and the boxes that they make."""
    rpn, levels = _rpn(network), list(named.values())
    every = [
        (score.permute(0, 2, 3, 1).flatten(1), _by_anchor(deltas, score.shape[1]))
        for score, deltas in zip(*rpn.head(levels), strict=True)
    ]
    objectness, deltas = (torch.cat(parts, 1) for parts in zip(*every, strict=True))
    anchors = grid(network, levels, (images.shape[2], images.shape[3]))
    many = anchors.to(deltas).repeat(len(images), 1)
    boxes = rpn.box_coder.decode_single(deltas.detach().flatten(0, 1), many)
    return {
        "objectness": objectness,
        "deltas": deltas,
        "boxes": boxes.view(len(images), -1, 4),
        "of_level": [score.shape[1] for score, _ in every],
    }


def _by_anchor(deltas: Tensor, anchors: int) -> Tensor:
    """Return (B, h * w * anchors, 4) of (B, anchors * 4, h, w), in the order of anchors."""
    pictures, _, height, width = deltas.shape
    apart = deltas.view(pictures, anchors, 4, height, width).permute(0, 3, 4, 1, 2)
    return apart.reshape(pictures, -1, 4)


def best(rpn: Any, first: dict[str, Any], images: Tensor, *, most: int | None = None) -> Tensor:
    """Return the best of what the first stage proposes, (B, R, 4)."""
    few = min(rpn.post_nms_top_n(), first["objectness"].shape[1], most or rpn.post_nms_top_n())
    found: Tensor = best_regions(
        cut(first["boxes"], images.shape[2], images.shape[3]),
        # torchvision sorts by probabilities; logits tell apart what is 1 to the last bit.
        first["objectness"].detach(),
        first["of_level"],
        rpn.pre_nms_top_n(),
        few,
        rpn.nms_thresh,
        _logit(rpn.score_thresh),
        rpn.min_size,
    )
    return found


def propose(network: nn.Module, regions: int) -> None:
    """Have the first stage of a network propose so many regions at most, in place.

    Of each level as many candidates as before go into the suppression, or as many as that.
    """
    rpn = _rpn(network)
    rpn._pre_nms_top_n["testing"] = max(rpn.pre_nms_top_n(), regions)
    rpn._post_nms_top_n["testing"] = regions


def _logit(share: float) -> float:
    return math.log(share / (1 - share)) if share > 0 else LOWEST


def cut(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return boxes (…, 4) cut at the edges of the input."""
    left, top, right, bottom = boxes.unbind(-1)
    across = (left.clamp(0, width), right.clamp(0, width))
    down = (top.clamp(0, height), bottom.clamp(0, height))
    return torch.stack((across[0], down[0], across[1], down[1]), -1)


def grid(network: nn.Module, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the anchors (A, 4) of all places in an input of `size`, ltrb in pixels."""
    return anchors_of(_rpn(network).anchor_generator, levels, size)


def _rpn(network: nn.Module) -> Any:
    return network.rpn
