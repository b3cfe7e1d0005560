"""The two linear layers of Faster R-CNN's usual box head, as layers from a map to a map.

torchvision's own head flattens what a region shows, and what takes no map and gives none cannot
be replaced by anything. This one computes the same with the same weights by the same names.
"""

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional


class MapLinear(nn.Linear):
    """A linear layer that sees a map as a whole, and gives a map of one pixel."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (R, C, H, W), C * H * W features, to (R, features, 1, 1)."""
        return super().forward(input.flatten(1))[:, :, None, None]


class BoxHead(nn.Module):
    """Two linear layers, each cut off below 0."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.fc6, self.fc7 = (_as_map_layer(layer) for layer in (head.fc6, head.fc7))

    def forward(self, x: Tensor) -> Tensor:
        """Map (R, C, H, W) to (R, features, 1, 1)."""
        return functional.relu(self.fc7(functional.relu(self.fc6(x))))


def use_maps(network: nn.Module) -> None:
    """Exchange the box head of a Faster R-CNN, if it is the usual one."""
    from torchvision.models.detection.faster_rcnn import TwoMLPHead

    heads = cast(Any, network).roi_heads
    if isinstance(heads.box_head, TwoMLPHead):
        heads.box_head = BoxHead(heads.box_head)


def _as_map_layer(layer: nn.Linear) -> MapLinear:
    made = MapLinear(layer.in_features, layer.out_features)
    made.weight, made.bias = layer.weight, layer.bias
    return made
