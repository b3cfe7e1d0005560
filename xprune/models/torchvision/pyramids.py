"""Feature pyramids on small backbones, by torchvision's own builders."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xprune.models.torchvision.family import TorchvisionDetector, models

BACKBONES = ("mobilenet_v2", "resnet18", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0")
PYRAMID_CHANNELS = 256
LEAST_PX = 64


class PyramidDetector(TorchvisionDetector):
    """Detectors on a pyramid of maps, the coarsest of which is a few places wide."""

    def least_side_px(self, network: nn.Module) -> int:
        """Return the least side of an input of which every level has something to look at."""
        del network
        return LEAST_PX


def mobile_pyramid(backbone: str, *, coarser: str) -> nn.Module:
    """Return a backbone with random weights, and a pyramid on its 8, 16 and 32 px a place.

    Args:
        backbone: torchvision's name.
        coarser: What makes coarser levels: "convolutions" two of them, "pool" one.
    """
    from torchvision.models.detection import backbone_utils
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

    extra = LastLevelP6P7(*[PYRAMID_CHANNELS] * 2) if coarser != "pool" else LastLevelMaxPool()
    given = {"weights": None, "norm_layer": nn.BatchNorm2d, "extra_blocks": extra}
    result: nn.Module
    if backbone.startswith("resnet"):
        result = backbone_utils.resnet_fpn_backbone(
            backbone_name=backbone, trainable_layers=5, returned_layers=[2, 3, 4], **given
        )
    elif backbone.startswith("mobilenet"):
        # Its stages end at 2, 4, 8, 16, 32 and 32 pixels a place.
        result = backbone_utils.mobilenet_backbone(
            backbone_name=backbone, fpn=True, returned_layers=[2, 3, 4], **given
        )
    else:
        network = models().get_model(backbone, weights=None)
        stages = {"stage2": "0", "stage3": "1", "stage4": "2"}
        channels = [len(getattr(network, stage)[-1].branch2[-2].bias) * 2 for stage in stages]
        result = backbone_utils.BackboneWithFPN(
            network, stages, channels, PYRAMID_CHANNELS, extra_blocks=extra
        )
    return result


def anchors_of(generator: Any, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the anchors (A, 4) of all places, ltrb in pixels, as torchvision's generator does.

    Its own call keeps what it made for the last input, which export refuses.

    Args:
        generator: torchvision's.
        levels: Maps (B, C, h, w), the finest first.
        size: Height and width of the input in pixels.
    """
    sizes = [level.shape[2:] for level in levels]
    steps = [(size[0] // rows, size[1] // columns) for rows, columns in sizes]
    return torch.cat(generator.grid_anchors(sizes, steps))
