"""Channel pruning with Torch-Pruning (Fang et al. 2023, arXiv 2301.12900).

Its own YOLOv8 example does not run with today's Ultralytics. What it needs is mended here: the
first convolution of a C2f block gives two halves that are used apart, which its dependency
graph cannot follow, so that convolution is split in two; the outputs of the head stay as they
are. Gradients for the Taylor score come from the model's own answers, so that no label is
needed here either.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xprune.models.families import MODELS
from xprune.models.torchvision.resnet_cifar import Block, ResNetCifar
from xprune.models.ultralytics.upstream import part
from xprune.stages.workbench import BATCH, Workbench

IMPORTANCES = ("l1", "taylor")
# More would leave layers of a few channels, which no processor runs any faster.
MOST_OF_A_LAYER = 0.9
# What torchvision calls the layers whose outputs a detector's head ends with.
OUTPUTS = ("cls_logits", "bbox_reg", "bbox_ctrness", "bbox_pred", "cls_score")
# Each map of an SSD has a few layers of its own, by number.
SSD_MAP = re.compile(r"head\.\w+\.module_list\.\d+")


class SplitC2f(nn.Module):
    """A C2f block whose first convolution is two: one for each half of its channels."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.cv0, self.cv1 = _halves(block.cv1, int(block.c))
        self.cv2, self.m = block.cv2, block.m
        # Where the network finds its input, and what it calls the block.
        self.f, self.i, self.type, self.np = block.f, block.i, block.type, block.np

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) like the block that it was made from."""
        parts = [self.cv0(x), self.cv1(x)]
        parts.extend(layer(parts[-1]) for layer in self.m)
        result: Tensor = self.cv2(torch.cat(parts, 1))
        return result


def split_blocks(network: nn.Module) -> nn.Module:
    """Return a copy of a network that computes the same, its C2f blocks split."""
    split = copy.deepcopy(network)
    kind = part("nn.modules.block", "C2f")
    for name, module in list(split.named_modules()):
        if type(module) is kind:
            parent, _, child = name.rpartition(".")
            setattr(split.get_submodule(parent), child, SplitC2f(module))
    return split.eval()


@dataclass(frozen=True)
class ChannelPruner:
    """Prunes copies of one network to any share of its channels.

    Attributes:
        network: Its C2f blocks split.
        importance: A key of `IMPORTANCES`.
        round_to: Layers keep a multiple of so many channels.
        gradients: Of each parameter, by name; empty where the importance needs none.
        image: An input (1, 3, H, W) to trace with.
        outputs: Runs a network up to the raw outputs of its head.
    """

    network: nn.Module
    importance: str
    round_to: int
    gradients: Mapping[str, Tensor]
    image: Tensor
    outputs: Callable[[nn.Module, Tensor], dict[str, Any]]

    def pruned(self, share: float) -> nn.Module:
        """Return a copy without this share of the channels, the least important of all."""
        import torch_pruning

        network = copy.deepcopy(self.network).requires_grad_(True)
        for name, parameter in network.named_parameters():
            if name in self.gradients:
                parameter.grad = self.gradients[name].clone()
        scores = {
            "l1": lambda: torch_pruning.importance.GroupMagnitudeImportance(p=1),
            "taylor": torch_pruning.importance.GroupTaylorImportance,
        }
        pruner = torch_pruning.pruner.BasePruner(
            network,
            self.image,
            importance=scores[self.importance](),
            global_pruning=True,
            pruning_ratio=share,
            max_pruning_ratio=MOST_OF_A_LAYER,
            round_to=self.round_to,
            ignored_layers=[*head_outputs_of(network), *stream_layers_of(network)],
            forward_fn=self.outputs,
            output_transform=lambda found: [
                value for value in found.values() if isinstance(value, Tensor)
            ],
        )
        pruner.step()
        for parameter in network.parameters():
            parameter.grad = None
        return network.eval().requires_grad_(False)


def channel_pruner(bench: Workbench, importance: str, round_to: int) -> ChannelPruner:
    """Return a pruner of a workbench's network."""
    assert importance in IMPORTANCES, importance
    network = split_blocks(bench.detector.network)
    return ChannelPruner(
        network=network,
        importance=importance,
        round_to=round_to,
        gradients=_gradients(bench, network) if importance == "taylor" else {},
        image=torch.zeros(1, 3, *bench.size),
        outputs=bench.forward,
    )


def head_outputs_of(network: nn.Module) -> list[nn.Module]:
    """Return the layers whose outputs must stay: they are classes, sides of boxes, and such.

    Of a YOLO they are the last of each branch, and the decoder; of another network, those that
    torchvision gives these names, the last of each map's in an SSD, or the last linear layer of
    a classifier.
    """
    layers: Any = getattr(network, "model", None)
    if layers is not None:
        head = layers[-1]
        return [head.dfl, *(branch[-1] for branch in (*head.cv2, *head.cv3))]
    leaves = [
        (n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    named = [module for name, module in leaves if name.rpartition(".")[2] in OUTPUTS]
    maps = [(SSD_MAP.match(name), module) for name, module in leaves]
    last_of_maps = {found[0]: module for found, module in maps if found}
    return named or [*last_of_maps.values()] or [leaves[-1][1]]


def stream_layers_of(network: nn.Module) -> list[nn.Module]:
    """Return the layers that write to a residual stream which is padded with zero channels.

    The dependency graph cannot follow the padding, so that these stay as they are; what is
    inside of a block goes, as in Li et al. 2017 (arXiv 1608.08710).
    """
    if not isinstance(network, ResNetCifar):
        return []
    blocks = [block for block in network.modules() if isinstance(block, Block)]
    return [network.conv1, *(block.conv2 for block in blocks)]


def channels_of(network: nn.Module) -> int:
    """Return how many channels all convolutions of a network give together."""
    return sum(
        layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)
    )


def _gradients(bench: Workbench, network: nn.Module) -> dict[str, Tensor]:
    """Return the gradient of the mean loss over the calibration pictures, by parameter."""
    family = MODELS[bench.detector.family]
    network = copy.deepcopy(network).requires_grad_(True)
    count = len(bench.targets)
    for start in range(0, count, BATCH):
        images = bench.calibration.images(start, start + BATCH)
        outputs = family.head_outputs(network, images)
        losses = family.picture_losses(network, outputs, bench.targets[start : start + BATCH])
        (losses.sum() / count).backward()
    return {
        name: parameter.grad.detach()
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


def _halves(convolution: Any, channels: int) -> tuple[nn.Module, nn.Module]:
    """Return the two halves of a convolution with its batch norm and activation."""
    result = []
    for rows in (slice(0, channels), slice(channels, 2 * channels)):
        half = copy.deepcopy(convolution)
        half.conv.out_channels = channels
        half.conv.weight = nn.Parameter(half.conv.weight[rows].clone(), requires_grad=False)
        norm = half.bn
        norm.num_features = channels
        for name in ("weight", "bias"):
            values = getattr(norm, name)[rows].clone()
            setattr(norm, name, nn.Parameter(values, requires_grad=False))
        for name in ("running_mean", "running_var"):
            setattr(norm, name, getattr(norm, name)[rows].clone())
        result.append(half)
    return result[0], result[1]
