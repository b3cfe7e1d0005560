"""What the families of torchvision's networks share; the only imports of its models."""

import reprlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from exporters.card import Preprocessing
from runtime_bench.errors import EdgeError
from xprune.models.family import Architecture, Family, settled

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
COCO_CLASSES = 90


class TorchvisionFamily(Family):
    """Networks by torchvision's names: an architecture is a name and a number of classes.

    Attributes:
        names: Of the architectures.
        kind: What an error calls one of them.
        most_classes: Of a network.
    """

    # Of torchvision's code. Weights come with their own terms; their file does not say which.
    licence = "BSD-3-Clause"
    names: ClassVar[Sequence[str]]
    kind: ClassVar[str] = "detector"
    most_classes: ClassVar[int] = 10_000

    @abstractmethod
    def usual_classes(self, name: str) -> int:
        """Return the classes of the training that an architecture is known for."""

    @abstractmethod
    def random_network(self, name: str, classes: int) -> nn.Module:
        """Return the network of a name; classes are without the background."""

    @abstractmethod
    def least_side_px(self, network: nn.Module) -> int:
        """Return the least side of an input of which a network can say something."""

    def check_size(self, network: nn.Module, size: tuple[int, int]) -> None:
        """Check that an input (height, width) is large enough.

        Raises:
            EdgeError: If it is not.
        """
        least_px = self.least_side_px(network)
        if min(size) < least_px:
            raise EdgeError(
                f"an input of {size[0]}x{size[1]} is too small for this network; use --imgsz "
                f"{least_px} or more"
            )

    def known_architecture(self, name: str) -> Architecture | None:
        """Return the architecture that people call `name`; None if there is none."""
        if name not in self.names:
            return None
        return {"family": self.key, "name": name, "nc": self.usual_classes(name)}

    def check_architecture(
        self, raw: object, *, where: str = "the architecture"
    ) -> Architecture:
        """Return a fresh copy of an architecture of which every value is known.

        Args:
            raw: Its dictionary, from wherever; hostile until it is checked.
            where: What an error names.

        Returns:
            The keys family, name and nc: the number of classes, the background left out.

        Raises:
            EdgeError: If it is not one that `known_architecture` could return, but for nc.
        """
        if not isinstance(raw, dict) or set(raw) != {"family", "name", "nc"}:
            raise EdgeError(f"{where} is no {self.kind}; it needs the keys family, name and nc")
        if raw["name"] not in self.names:
            raise EdgeError(
                f"{where}: no {self.kind} is called {reprlib.repr(raw['name'])}; "
                f"there are: {', '.join(self.names)}"
            )
        if type(raw["nc"]) is not int or not 1 <= raw["nc"] <= self.most_classes:
            raise EdgeError(f"{where}: nc is not a whole number from 1 to {self.most_classes}")
        return dict(raw)

    def build_network(self, architecture: Architecture, *, seed: int = 0) -> nn.Module:
        """Build the network of an architecture, with random weights drawn from `seed`.

        Returns:
            The network in eval mode; no parameter asks for a gradient, no activation works in
            place, and the global random state is left as it was.

        Raises:
            EdgeError: If the architecture is not allowed.
        """
        checked = self.check_architecture(architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.random_network(checked["name"], checked["nc"])
        return settled(network)


class TorchvisionDetector(TorchvisionFamily):
    """torchvision's detectors, as its own transform and postprocessing have them."""

    def official(self, name: str, classes: int) -> nn.Module:
        """Return what torchvision's builder of this name gives; it counts the background."""
        build = getattr(detection(), name)
        network: nn.Module = build(weights=None, weights_backbone=None, num_classes=classes + 1)
        return network

    def usual_classes(self, name: str) -> int:
        """Return the classes of COCO as torchvision counts them."""
        del name
        return COCO_CLASSES

    def class_names(self, architecture: Architecture) -> tuple[str, ...] | None:
        """Return torchvision's names of the classes of COCO, if there are so many."""
        if architecture["nc"] != COCO_CLASSES:
            return None
        weights = detection().RetinaNet_ResNet50_FPN_Weights.DEFAULT
        return tuple(weights.meta["categories"][1:])

    def preprocessing(self, architecture: Architecture) -> Preprocessing:
        """Return what torchvision's transform does, for an input whose size stays the same."""
        del architecture
        return Preprocessing(resize="fit", mean=IMAGENET_MEAN, std=IMAGENET_STD)


def models() -> Any:
    """Return `torchvision.models`; importing it takes a second, and sets a variable."""
    from torchvision import models as found

    return found


def detection() -> Any:
    """Return `torchvision.models.detection`."""
    from torchvision.models import detection as found

    return found


def part_of(network: nn.Module, name: str) -> Any:
    """Return what a network calls `name`, whatever kind of thing that is."""
    return getattr(network, name)


def rows_by_centre(least: Tensor, most: Tensor, scores: Tensor) -> Tensor:
    """Return what the decoder `yolo` reads, (B, 4 + nc, A).

    Args:
        least: (B, A, 2), left and top of the boxes.
        most: (B, A, 2), right and bottom.
        scores: (B, nc, A).
    """
    return torch.cat(
        (((least + most) / 2).transpose(1, 2), (most - least).transpose(1, 2), scores), 1
    )


def divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of each Bernoulli variable, from logits."""
    share = wanted.sigmoid()
    cross = functional.binary_cross_entropy_with_logits(logits, share, reduction="none")
    own = functional.binary_cross_entropy_with_logits(wanted, share, reduction="none")
    return cross - own
