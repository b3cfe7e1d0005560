"""The families of networks by name, and what the file of each must say.

A family says how its networks are built and read, what they lose, and what their outputs mean.
Nothing in it is about pruning.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from exporters.card import Preprocessing
from runtime_bench.artifact.manifest import Task
from runtime_bench.errors import EdgeError
from xprune.models import classifier, one_stage, ssd, two_stage, yolo
from xprune.models.targets import Targets

Architecture = dict[str, Any]
Outputs = dict[str, Any]


class Family(Protocol):
    """A module of this folder."""

    TASK: Task
    LICENCE: str
    DECODER: str  # which numpy decoder reads what `decoded` gives
    TWO_STAGES: bool  # whether it looks once more at regions that it proposes

    def known_architecture(self, name: str) -> Any:
        """Return the unchecked architecture that people call `name`, or None."""

    def check_architecture(self, raw: object, *, where: str = ...) -> Architecture:
        """Return a fresh copy of an architecture, from wherever, that may be built."""

    def build_network(self, architecture: Architecture, *, seed: int = ...) -> nn.Module:
        """Return the network of an architecture with random weights, in eval mode."""

    def class_names(self, architecture: Architecture) -> tuple[str, ...] | None:
        """Return what the classes of an architecture are usually called, if that is known."""

    def classes_in(self, state: dict[str, Tensor]) -> int | None:
        """Return how many classes weights are of, if they tell."""

    def preprocessing(self, architecture: Architecture) -> Preprocessing:
        """Return how pictures become inputs."""

    def nms_iou(self, architecture: Architecture) -> float:
        """Return the overlap of two boxes of a class beyond which the lesser one goes."""

    def usual_size(self, architecture: Architecture) -> tuple[int, int]:
        """Return the input (height, width) in pixels for who names none."""

    def network_stride(self, network: nn.Module) -> int:
        """Return of what an input's sides must be multiples, in pixels."""

    def check_size(self, network: nn.Module, size: tuple[int, int]) -> None:
        """Raise an EdgeError if inputs (height, width) are too small for the loss."""

    def head_outputs(
        self, network: nn.Module, images: Tensor, regions: Tensor | None = None
    ) -> Outputs:
        """Run a network on (B, 3, H, W), up to what its losses take.

        One of two stages looks at `regions` (B, R, 4), if they are given, in place of those
        that it proposes itself, and says where it looked: only so two networks can be compared.
        """

    def picture_losses(
        self, network: nn.Module, outputs: Outputs, targets: Sequence[Targets]
    ) -> Tensor:
        """Return the training loss of each picture by itself, (B,)."""

    def batch_loss(
        self, network: nn.Module, outputs: Outputs, targets: Sequence[Targets]
    ) -> Tensor:
        """Return the training loss of a batch, by picture."""

    def output_distances(self, outputs: Outputs, wanted: Outputs) -> Tensor:
        """Return how far the outputs of each picture are from those that are wanted, (B,)."""

    def output_divergences(self, outputs: Outputs, wanted: Outputs) -> Tensor:
        """Return the same, weighed for what accuracy is likely to lose."""

    def decoded(self, network: nn.Module) -> nn.Module:
        """Return the module to export."""


MODELS: dict[str, Family] = {
    "yolo": yolo,  # YOLOv3 to YOLOv12 with Ultralytics' Detect head
    "one_stage": one_stage,  # torchvision's RetinaNet and FCOS, on several backbones
    "two_stage": two_stage,  # torchvision's Faster R-CNN, on several backbones
    "ssd": ssd,  # torchvision's SSD300 and SSDlite
    "classifier": classifier,  # torchvision's, and the residual networks for CIFAR-10
}


def family_of(architecture: object) -> str:
    """Return the family, a key of `MODELS`, that an unchecked architecture says it is of.

    Raises:
        EdgeError: If there is none of that name.
    """
    # Those of YOLO are as in Ultralytics' YAML, which names no family.
    named = architecture.get("family", "yolo") if isinstance(architecture, dict) else "yolo"
    if not isinstance(named, str) or named not in MODELS:
        raise EdgeError(
            f"the architecture is of the family {str(named)[:40]!r}, which is not known; "
            f"there are: {', '.join(MODELS)}"
        )
    return named


def check_architecture(raw: object, *, where: str) -> Architecture:
    """Return a fresh copy of an architecture of any family, once it is known to be allowed.

    Raises:
        EdgeError: If it is not.
    """
    return MODELS[family_of(raw)].check_architecture(raw, where=where)


def find_architecture(name: str) -> Any:
    """Return the unchecked architecture that people call `name`; None if there is none."""
    found = (family.known_architecture(name) for family in MODELS.values())
    return next((architecture for architecture in found if architecture is not None), None)
