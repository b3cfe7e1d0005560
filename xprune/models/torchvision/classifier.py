"""The family of image classifiers: torchvision's, and the residual networks for CIFAR-10."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from exporters.card import Preprocessing
from xprune.models.family import Architecture, Outputs
from xprune.models.targets import Targets
from xprune.models.torchvision.family import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    TorchvisionFamily,
    models,
)
from xprune.models.torchvision.resnet_cifar import ResNetCifar

TORCHVISION = (
    "alexnet",
    "mobilenet_v2",
    "resnet18",
    "resnet34",
    "resnet50",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "vgg16",
    "vgg16_bn",
)
DEPTHS = {f"resnet{depth}_cifar": depth for depth in (20, 32, 44, 56)}
NAMES = (*TORCHVISION, *DEPTHS)
CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
# torchvision's presets for evaluation: 224 of 256 px.
CROP_SHARE = 0.875
IMAGENET_PX, CIFAR_PX = 224, 32
IMAGENET_STRIDE, CIFAR_STRIDE = 32, 4
# What AlexNet's five halvings need; below, torchvision's own forward fails.
LEAST_PX = 64


class Classifier(TorchvisionFamily):
    """torchvision's classifiers, and the residual networks for CIFAR-10."""

    key = "classifier"
    task = "classify"
    decoder = "none"
    names = NAMES
    kind = "classifier"
    most_classes = 100_000
    overlap = 1.0  # nothing is found that could overlap

    def usual_classes(self, name: str) -> int:
        """Return how many classes ImageNet has, or CIFAR-10."""
        return len(CIFAR10) if name in DEPTHS else 1000

    def random_network(self, name: str, classes: int) -> nn.Module:
        """Return the network, which maps (B, 3, H, W) to logits (B, classes)."""
        if name in DEPTHS:
            return ResNetCifar(DEPTHS[name], classes)
        network: nn.Module = models().get_model(name, weights=None, num_classes=classes)
        return network

    def class_names(self, architecture: Architecture) -> tuple[str, ...] | None:
        """Return the classes of the training that an architecture is known for, if they fit."""
        name = architecture["name"]
        if architecture["nc"] != self.usual_classes(name):
            return None
        if name in DEPTHS:
            return CIFAR10
        weights = models().get_model_weights(name).DEFAULT
        return tuple(weights.meta["categories"])

    def classes_in(self, state: dict[str, Tensor]) -> int | None:
        """Return how many classes weights are of; None if the last of them does not tell."""
        tables = [value for key, value in state.items() if key.endswith("weight")]
        last = tables[-1] if tables else None
        return len(last) if last is not None and last.ndim == 2 else None

    def preprocessing(self, architecture: Architecture) -> Preprocessing:
        """Return how pictures were seen in training: normalised as ImageNet's."""
        share = 1.0 if architecture["name"] in DEPTHS else CROP_SHARE
        return Preprocessing("crop", IMAGENET_MEAN, IMAGENET_STD, crop_share=share)

    def usual_size(self, architecture: Architecture) -> tuple[int, int]:
        """Return the input (height, width) in pixels that an architecture is known for."""
        side = CIFAR_PX if architecture["name"] in DEPTHS else IMAGENET_PX
        return side, side

    def network_stride(self, network: nn.Module) -> int:
        """Return the coarsest stride in pixels, of which an input's sides must be multiples."""
        return CIFAR_STRIDE if isinstance(network, ResNetCifar) else IMAGENET_STRIDE

    def least_side_px(self, network: nn.Module) -> int:
        """Return the least side of an input that still has places after it was halved."""
        stride = self.network_stride(network)
        return LEAST_PX if stride == IMAGENET_STRIDE else stride

    def head_outputs(
        self, network: nn.Module, images: Tensor, regions: Tensor | None = None
    ) -> Outputs:
        """Run the network.

        Returns:
            scores (B, nc) as logits, and feats, a list with what the last layer read, (B, C, 1,
            1).
        """
        del regions
        read: list[Tensor] = []
        handle = _last_layer(network).register_forward_pre_hook(
            lambda module, inputs: read.append(inputs[0])
        )
        try:
            logits = network(images)
        finally:
            handle.remove()
        return {"scores": logits, "feats": [read[-1][:, :, None, None]]}

    def picture_losses(
        self, network: nn.Module, outputs: Outputs, targets: Sequence[Targets]
    ) -> Tensor:
        """Return the cross entropy of each picture, (B,), differentiable."""
        del network
        scores: Tensor = outputs["scores"]
        assert len(targets) == len(scores), f"{len(targets)} targets for {len(scores)} pictures"
        labels = torch.stack([target.labels[0] for target in targets]).to(scores.device)
        return functional.cross_entropy(scores, labels, reduction="none")

    def output_distances(self, outputs: Outputs, wanted: Outputs) -> Tensor:
        """Return how far the scores of each picture moved, without any label.

        It is the Kullback-Leibler divergence of the classes from what is wanted.
        """
        aims = wanted["scores"].log_softmax(1)
        moved: Tensor = (aims.exp() * (aims - outputs["scores"].log_softmax(1))).sum(1)
        return moved

    def decoded(self, network: nn.Module) -> nn.Module:
        """Return the module to export: (B, 3, H, W) to scores (B, nc) that add up to 1."""
        return _Scores(network)


class _Scores(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits.softmax(1)


def _last_layer(network: nn.Module) -> nn.Linear:
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
