"""The YOLO family: a network from its architecture, its raw outputs, loss and decoder."""

import copy
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from exporters.card import Preprocessing
from runtime_bench.errors import EdgeError
from xprune.models.family import Architecture, Family, Outputs, settled
from xprune.models.targets import Targets
from xprune.models.ultralytics.architecture import check_architecture
from xprune.models.ultralytics.catalogue import known_architecture
from xprune.models.ultralytics.upstream import part, tasks, without_eval

# The loss assigns each object to the 10 places that suit it best.
LEAST_PLACES = 10
MAX_PARAMETERS = 400_000_000
# AP asks for overlaps of up to 0.95: what moves the boxes costs it more than their own
# divergence tells.
BOXES_IN_AP = 2.0
# Ultralytics' default gains of the box, class and distribution losses.
GAINS = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
# What a wrong architecture raises while torch and Ultralytics build it.
BUILD_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Yolo(Family):
    """YOLOv3 to YOLO12 with Ultralytics' Detect head."""

    key = "yolo"
    licence = "AGPL-3.0"
    overlap = 0.7  # as Ultralytics validates

    def known_architecture(self, name: str) -> Any:
        """Return the unchecked architecture that Ultralytics ships under `name`, or None."""
        return known_architecture(name)

    def check_architecture(
        self, raw: object, *, where: str = "the architecture"
    ) -> Architecture:
        """Return a fresh copy of an architecture of which every layer is known."""
        return check_architecture(raw, where=where)

    def build_network(self, architecture: Architecture, *, seed: int = 0) -> nn.Module:
        """Build the network of an architecture, with random weights drawn from `seed`.

        Args:
            architecture: As in an Ultralytics YAML; it is checked here, whatever its origin.
            seed: Of the random weights; the global random state is left as it was.

        Returns:
            The network in eval mode; no parameter asks for a gradient, no activation works in
            place, and every layer owns its activation (Ultralytics shares one among all
            networks).

        Raises:
            EdgeError: If the architecture is not allowed, too large, or does not fit together.
        """
        checked = self.check_architecture(architecture)
        with without_eval(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                _check_size(checked)
                network = tasks().DetectionModel(copy.deepcopy(checked), ch=3, verbose=False)
            except BUILD_ERRORS as error:
                reason = " ".join(str(error).split())[:200]
                raise EdgeError(
                    f"the architecture cannot be built: {reason}"
                    " (check its layers against the model's YAML)"
                ) from error
        return _settled(network)

    def preprocessing(self, architecture: Architecture) -> Preprocessing:
        """Return Ultralytics' letterbox, values in [0, 1]."""
        del architecture
        return Preprocessing()

    def network_stride(self, network: nn.Module) -> int:
        """Return the coarsest stride in pixels, of which an input's sides must be multiples."""
        return int(_head(network).stride.max())

    def check_size(self, network: nn.Module, size: tuple[int, int]) -> None:
        """Check that the loss has places enough to look at.

        Raises:
            EdgeError: If it has not.
        """
        with torch.no_grad():
            places = self.head_outputs(network, torch.zeros(1, 3, *size))["scores"].shape[-1]
        if places < LEAST_PLACES:
            raise EdgeError(
                f"at an input size of {size[0]}x{size[1]} the detector looks at "
                f"{places} places only, and its loss needs {LEAST_PLACES}; use a larger --imgsz"
            )

    def head_outputs(
        self, network: nn.Module, images: Tensor, regions: Tensor | None = None
    ) -> Outputs:
        """Run the network in eval mode, up to the raw outputs of its head.

        Only the flag of the head itself says "training", which makes Ultralytics return what
        the loss needs; batch norms inside the head stay frozen like all others.

        Returns:
            boxes (B, 4 * reg_max, A), scores (B, nc, A) as logits, and feats, a list of the
            feature maps (B, C, h, w) that the head read.
        """
        del regions
        head = _head(network)
        before = head.training
        head.training = True
        try:
            outputs: Outputs = network(images)
        finally:
            head.training = before
        return outputs

    def picture_losses(
        self, network: nn.Module, outputs: Outputs, targets: Sequence[Targets]
    ) -> Tensor:
        """Return Ultralytics' training loss of each picture, as if it were alone in its batch.

        Its own call would couple the pictures: it divides by the targets of the whole batch.

        Returns:
            (B,), the weighted sum of box, class and distribution loss, differentiable.
        """
        scores = outputs["scores"]
        assert len(targets) == len(scores), f"{len(targets)} targets for {len(scores)} pictures"
        stand_in = SimpleNamespace(
            args=GAINS, model=network.model, parameters=network.parameters
        )
        criterion = part("utils.loss", "v8DetectionLoss")(stand_in)
        losses = []
        for index, target in enumerate(targets):
            alone = {
                "boxes": outputs["boxes"][index : index + 1],
                "scores": scores[index : index + 1],
                "feats": [level[index : index + 1] for level in outputs["feats"]],
            }
            total, _ = criterion(
                alone, _batch_of_one(target, alone["feats"][0], _head(network))
            )
            losses.append(total.sum())
        return torch.stack(losses)

    def batch_loss(
        self, network: nn.Module, outputs: Outputs, targets: Sequence[Targets]
    ) -> Tensor:
        """Return Ultralytics' training loss of a batch, as its own trainer has it, by picture.

        Returns:
            A number, the weighted sum of box, class and distribution loss, differentiable.
        """
        stand_in = SimpleNamespace(
            args=GAINS, model=network.model, parameters=network.parameters
        )
        criterion = part("utils.loss", "v8DetectionLoss")(stand_in)
        head = _head(network)
        parts = [_batch_of_one(target, outputs["feats"][0], head) for target in targets]
        for index, one in enumerate(parts):
            one["batch_idx"] = one["batch_idx"] + index
        batch = {key: torch.cat([one[key] for one in parts]) for key in parts[0]}
        total, _ = criterion(outputs, batch)
        result: Tensor = total.sum() / len(targets)
        return result

    def output_distances(
        self, outputs: Outputs, wanted: Outputs, *, boxes: float = 1.0
    ) -> Tensor:
        """Return how far the outputs of each picture moved, without any label.

        For the scores the Kullback-Leibler divergence of every class at every place from what
        is wanted; for the boxes that of the distributions of their sides, each place weighted
        by the highest score that is wanted there, since a box that nobody looks at may move.
        Both by object: divided by the sum of these weights.

        Args:
            outputs: From `head_outputs`, for B pictures.
            wanted: The same of the unpruned network.
            boxes: How much the boxes count.

        Returns:
            (B,), 0 where nothing moved.
        """
        logits, wanted_logits = outputs["scores"], wanted["scores"]
        share = wanted_logits.sigmoid()
        # Of a Bernoulli variable, from logits: the entropy of what is wanted is taken off.
        scores = functional.binary_cross_entropy_with_logits(
            logits, share, reduction="none"
        ) - functional.binary_cross_entropy_with_logits(wanted_logits, share, reduction="none")
        weights = share.amax(1)
        count, sides, places = len(weights), 4, weights.shape[1]
        bins = outputs["boxes"].view(count, sides, -1, places).log_softmax(2)
        wanted_bins = wanted["boxes"].view(count, sides, -1, places).log_softmax(2)
        sides_moved = (wanted_bins.exp() * (wanted_bins - bins)).sum((1, 2))
        moved = scores.sum((1, 2)) + boxes * (weights * sides_moved).sum(1)
        result: Tensor = moved / (1 + weights.sum(1))
        return result

    def output_divergences(self, outputs: Outputs, wanted: Outputs) -> Tensor:
        """Return what AP is likely to lose: `output_distances` with the boxes weighed for that.

        Args and returns as there.
        """
        return self.output_distances(outputs, wanted, boxes=BOXES_IN_AP)

    def decoded(self, network: nn.Module) -> nn.Module:
        """Return the module to export: (B, 3, H, W) → (B, 4 + nc, A).

        The first four rows are centre x, centre y, width and height in input pixels, the others
        the scores in [0, 1]; the values are those of Ultralytics' own eval output.
        """
        return _Decoded(self, network)


class _Decoded(nn.Module):
    def __init__(self, family: Family, network: nn.Module) -> None:
        super().__init__()
        self.family, self.network = family, network
        self.make_anchors = part("utils.tal", "make_anchors")
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        head = _head(self.network)
        outputs = self.family.head_outputs(self.network, images)
        # Made anew in each call: the head's own cache of anchors is state that export refuses.
        anchors, strides = self.make_anchors(outputs["feats"], head.stride, 0.5)
        centres = anchors.transpose(0, 1).unsqueeze(0)
        cells = head.decode_bboxes(head.dfl(outputs["boxes"]), centres)
        return torch.cat((cells * strides.transpose(0, 1), outputs["scores"].sigmoid()), 1)


def _head(network: nn.Module) -> Any:
    layers: Any = network.model
    return layers[-1]


def _batch_of_one(target: Targets, finest: Tensor, head: Any) -> dict[str, Tensor]:
    height, width = (size * float(head.stride[0]) for size in finest.shape[2:])
    # Ultralytics prepares targets in float32, whatever the precision of the network.
    boxes = target.boxes.to(finest.device, torch.float32)
    left, top, right, bottom = boxes.reshape(-1, 4).unbind(1)
    centred = torch.stack(
        (
            (left + right) / (2 * width),
            (top + bottom) / (2 * height),
            (right - left) / width,
            (bottom - top) / height,
        ),
        1,
    )
    labels = target.labels.to(finest.device, torch.float32)
    assert not len(labels) or labels.max() < head.nc, "a label is beyond the classes"
    return {"batch_idx": torch.zeros_like(labels), "cls": labels, "bboxes": centred}


def _check_size(architecture: Architecture) -> None:
    with torch.device("meta"):
        layers, _ = tasks().parse_model(copy.deepcopy(architecture), ch=3, verbose=False)
    count = sum(parameter.numel() for parameter in layers.parameters())
    if count > MAX_PARAMETERS:
        raise EdgeError(
            f"the architecture has {count:,} parameters; the limit is {MAX_PARAMETERS:,}:"
            " lower its width or depth"
        )


def _settled(network: nn.Module) -> nn.Module:
    for module in network.modules():
        activation = getattr(module, "act", None)
        if isinstance(activation, nn.Module):
            module.act = copy.deepcopy(activation)
    return settled(network)
