"""What the file of a family of networks says; nothing of it is about pruning.

A family says how its networks are built and read, what they lose, and what their outputs mean.
What most have in common is here, as it is for a YOLO; a family changes what is otherwise.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from exporters.card import Preprocessing
from runtime_bench.artifact.manifest import Task
from runtime_bench.errors import UsageError
from xprune.models.targets import Targets

Architecture = dict[str, Any]
Outputs = dict[str, Any]


class Family(ABC):
    """Networks that are built, trained and read alike; it has no state.

    Attributes:
        key: What architectures call their family, a key of `families.MODELS`.
        task: What its networks tell of a picture.
        licence: Of the code that its networks come from, as an SPDX identifier, where weights
            do not say theirs.
        decoder: Which numpy decoder reads what `decoded` gives.
        two_stages: Whether it looks once more at regions that it proposes.
        overlap: Of two boxes of a class, beyond which the lesser one goes.
        side_px: Of the square input for who names no size.
        stride: Of what the sides of an input must be multiples, in pixels.
    """

    key: ClassVar[str]
    task: ClassVar[Task] = "detect"
    licence: ClassVar[str]
    decoder: ClassVar[str] = "yolo"
    two_stages: ClassVar[bool] = False
    overlap: ClassVar[float] = 0.5
    side_px: ClassVar[int] = 640
    stride: ClassVar[int] = 32

    @abstractmethod
    def known_architecture(self, name: str) -> Any:
        """Return the unchecked architecture that people call `name`; None if there is none."""

    @abstractmethod
    def check_architecture(
        self, raw: object, *, where: str = "the architecture"
    ) -> Architecture:
        """Return a fresh copy of an architecture of which every value is known.

        Args:
            raw: Its dictionary, from wherever; hostile until it is checked.
            where: What an error names.

        Raises:
            EdgeError: If it is not one that may be built.
        """

    @abstractmethod
    def build_network(self, architecture: Architecture, *, seed: int = 0) -> nn.Module:
        """Return the network of an architecture with random weights, in eval mode.

        No parameter asks for a gradient, no activation works in place, and the global random
        state is left as it was.

        Raises:
            EdgeError: If the architecture is not allowed.
        """

    def look_at(
        self, network: nn.Module, architecture: Architecture, regions: int
    ) -> Architecture:
        """Have a network of two stages look at so many regions, in place.

        Returns:
            Its architecture, which says so.

        Raises:
            UsageError: If there is one stage alone.
        """
        del network, architecture, regions
        raise UsageError(
            "--regions is for detectors that look twice, Faster R-CNN, and this model looks "
            "once; leave it out"
        )

    def class_names(self, architecture: Architecture) -> tuple[str, ...] | None:
        """Return what the classes of an architecture are usually called, if that is known."""
        del architecture
        return None

    def classes_in(self, state: dict[str, Tensor]) -> int | None:
        """Return how many classes weights are of, the background left out, if they tell."""
        del state
        return None

    @abstractmethod
    def preprocessing(self, architecture: Architecture) -> Preprocessing:
        """Return how pictures become inputs."""

    def nms_iou(self, architecture: Architecture) -> float:
        """Return the overlap of two boxes of a class beyond which the lesser one goes."""
        del architecture
        return self.overlap

    def usual_size(self, architecture: Architecture) -> tuple[int, int]:
        """Return the input (height, width) in pixels for who names none."""
        del architecture
        return self.side_px, self.side_px

    def network_stride(self, network: nn.Module) -> int:
        """Return of what an input's sides must be multiples, in pixels."""
        del network
        return self.stride

    @abstractmethod
    def check_size(self, network: nn.Module, size: tuple[int, int]) -> None:
        """Check that an input (height, width) is large enough.

        Raises:
            EdgeError: If it is not.
        """

    @abstractmethod
    def head_outputs(
        self, network: nn.Module, images: Tensor, regions: Tensor | None = None
    ) -> Outputs:
        """Run a network in eval mode, up to the raw outputs of its head.

        Args:
            network: From `build_network`, pruned or not.
            images: (B, 3, H, W), as `preprocessing` has them.
            regions: Where the second of two stages is to look, (B, R, 4), ltrb in pixels, in
                place of those that the first proposes, so that two networks can be compared.
        """

    @abstractmethod
    def picture_losses(
        self, network: nn.Module, outputs: Outputs, targets: Sequence[Targets]
    ) -> Tensor:
        """Return the training loss of each picture, as if it were alone in its batch.

        Args:
            network: The network that made `outputs`.
            outputs: From `head_outputs`, for B pictures.
            targets: One per picture; a picture without boxes is allowed.

        Returns:
            (B,), differentiable.
        """

    def batch_loss(
        self, network: nn.Module, outputs: Outputs, targets: Sequence[Targets]
    ) -> Tensor:
        """Return the training loss of a batch, by picture; see `picture_losses`."""
        return self.picture_losses(network, outputs, targets).mean()

    @abstractmethod
    def output_distances(self, outputs: Outputs, wanted: Outputs) -> Tensor:
        """Return how far the outputs of each picture moved, without any label.

        Args:
            outputs: From `head_outputs`, for B pictures.
            wanted: The same of the unpruned network.

        Returns:
            (B,), 0 where nothing moved.
        """

    def output_divergences(self, outputs: Outputs, wanted: Outputs) -> Tensor:
        """Return what accuracy is likely to lose; see `output_distances`."""
        return self.output_distances(outputs, wanted)

    @abstractmethod
    def decoded(self, network: nn.Module) -> nn.Module:
        """Return the module to export, which maps (B, 3, H, W) to what `decoder` reads."""


def settled(network: nn.Module) -> nn.Module:
    """Return a network in eval mode, nothing in place, no parameter asking for a gradient."""
    for module in network.modules():
        if isinstance(getattr(module, "inplace", None), bool):
            setattr(module, "inplace", False)  # noqa: B010 - not an attribute of every Module
    return network.eval().requires_grad_(False)
