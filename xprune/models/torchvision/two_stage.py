"""The family of torchvision's Faster R-CNN: regions are proposed, and then looked at again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from exporters.heads.regions import pool_regions
from runtime_bench.errors import EdgeError
from xprune.models.family import Architecture, Outputs
from xprune.models.targets import Targets
from xprune.models.torchvision.box_head import use_maps
from xprune.models.torchvision.family import detection, divergence, part_of
from xprune.models.torchvision.proposals import best, cut, grid, propose, proposed
from xprune.models.torchvision.pyramids import BACKBONES, PyramidDetector, mobile_pyramid

# As torchvision's own postprocessing has it.
LEAST_SIDE_PX = 0.01
OFFICIAL = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
)
FASTERRCNN = "fasterrcnn:"
NAMES = (*OFFICIAL, *(FASTERRCNN + backbone for backbone in BACKBONES))
SMALL_SIDE_PX = 320
# On small backbones as many regions as torchvision's own small one looks at, whose box head
# would else take ten times as long as all the rest.
FEW_REGIONS = {"rpn_pre_nms_top_n_test": 150, "rpn_post_nms_top_n_test": 150}
ANCHOR_SIDES_PX = ((32,), (64,), (128,), (256,))
RATIOS = (0.5, 1.0, 2.0)
MOST_REGIONS = 10_000
CLASSES = "roi_heads.box_predictor.cls_score.weight"
# Losses and distances look at the best of the regions: a box head's maps of all of them take
# 50 MB a picture.
LOOKED_AT = 64
SEED = 0


class TwoStage(PyramidDetector):
    """torchvision's Faster R-CNN."""

    key = "two_stage"
    names = NAMES
    decoder = "class_boxes"
    two_stages = True

    def check_architecture(
        self, raw: object, *, where: str = "the architecture"
    ) -> Architecture:
        """Return a fresh copy of an architecture of which every value is known.

        Returns:
            The keys family, name and nc, and where it is not the network's own number, regions:
            how many are looked at again.
        """
        if not isinstance(raw, dict) or "regions" not in raw:
            return super().check_architecture(raw, where=where)
        rest, regions = dict(raw), raw["regions"]
        del rest["regions"]
        if type(regions) is not int or not 1 <= regions <= MOST_REGIONS:
            raise EdgeError(f"{where}: regions is not a whole number from 1 to {MOST_REGIONS}")
        return {**super().check_architecture(rest, where=where), "regions": regions}

    def build_network(self, architecture: Architecture, *, seed: int = 0) -> nn.Module:
        """Build the network of an architecture, looking at as many regions as it says."""
        network = super().build_network(architecture, seed=seed)
        if "regions" in architecture:
            propose(network, architecture["regions"])
        return network

    def look_at(
        self, network: nn.Module, architecture: Architecture, regions: int
    ) -> Architecture:
        """Have a network look at so many regions, in place; return what says so."""
        propose(network, regions)
        return {**architecture, "regions": regions}

    def random_network(self, name: str, classes: int) -> nn.Module:
        """Return torchvision's module, its `transform`, which resizes, never run.

        Its box head is exchanged for one that computes the same (`box_head`).
        """
        if name in OFFICIAL:
            network = self.official(name, classes)
        else:
            network = _on_backbone(name.removeprefix(FASTERRCNN), classes + 1)
        use_maps(network)
        return network

    def classes_in(self, state: dict[str, Tensor]) -> int | None:
        """Return how many classes weights are of, the background left out."""
        return len(state[CLASSES]) - 1 if CLASSES in state else None

    def usual_size(self, architecture: Architecture) -> tuple[int, int]:
        """Return a size that small machines can take; torchvision's own is 800 to 1,333 px."""
        side_px = SMALL_SIDE_PX if "_320_" in architecture["name"] else self.side_px
        return side_px, side_px

    def head_outputs(
        self, network: nn.Module, images: Tensor, regions: Tensor | None = None
    ) -> Outputs:
        """Run the network in eval mode, up to the raw outputs of both stages.

        The second looks at the best regions that the first proposes, unless some are given.

        Returns:
            Of the first stage objectness (B, A) as logits, and deltas (B, A, 4), relative to
            the anchors (A, 4). Of the second, for each of the R regions, scores (B, R, 1 + nc)
            as logits, the background's first, and boxes (B, R, 1 + nc, 4), relative to the
            region. feats, the levels (B, C, h, w).
        """
        rpn, second = part_of(network, "rpn"), part_of(network, "roi_heads")
        named = part_of(network, "backbone")(images)
        first = proposed(network, images, named)
        if regions is None:
            regions = best(rpn, first, images, most=LOOKED_AT)
        sizes = [(images.shape[2], images.shape[3])] * len(images)
        seen = second.box_roi_pool(named, list(regions.to(images.dtype)), sizes)
        scores, boxes = second.box_predictor(second.box_head(seen))
        count = scores.shape[1]
        return {
            "objectness": first["objectness"],
            "deltas": first["deltas"],
            # In 64 bits, so that what is kept of them in less memory is still the same place.
            "regions": regions.double(),
            "scores": scores.view(len(images), -1, count),
            "boxes": boxes.view(len(images), -1, count, 4),
            "feats": list(named.values()),
        }

    def picture_losses(
        self, network: nn.Module, outputs: Outputs, targets: Sequence[Targets]
    ) -> Tensor:
        """Return torchvision's training loss of each picture, as if it were alone in its batch.

        It samples anchors and regions; the samples are the same each time. Targets are not
        added to the regions.

        Returns:
            (B,), the sum of the losses of both stages, of classes and boxes, differentiable.
        """
        count = len(outputs["scores"])
        assert len(targets) == count, f"{len(targets)} targets for {count} pictures"
        anchors = _anchors(network, outputs["feats"], outputs["objectness"])
        losses = []
        for index, target in enumerate(targets):
            one = {n: v[index] for n, v in outputs.items() if isinstance(v, Tensor)}
            boxes = target.boxes.to(one["scores"]).reshape(-1, 4)
            labels = target.labels.to(boxes.device) + 1
            with _sampled_alike(boxes.device):
                losses.append(
                    _first_loss(network, one, boxes, anchors)
                    + _second_loss(network, one, boxes, labels)
                )
        return torch.stack(losses)

    def output_distances(self, outputs: Outputs, wanted: Outputs) -> Tensor:
        """Return how far the outputs of each picture moved, without any label.

        For scores the Kullback-Leibler divergence from what is wanted; for the boxes how far
        their sides moved, in sides of the anchor or region, weighted by the score that is
        wanted there. All by object: of each stage divided by the sum of these weights.

        Args:
            outputs: From `head_outputs`, for B pictures, looking at the regions of `wanted`.
            wanted: The same of the unpruned network.

        Returns:
            (B,), 0 where nothing moved.
        """
        assert torch.equal(outputs["regions"], wanted["regions"]), "two networks, two regions"
        weights = wanted["objectness"].sigmoid()
        moved = divergence(outputs["objectness"], wanted["objectness"]).sum(1)
        sides = (outputs["deltas"] - wanted["deltas"]).abs().sum(2)
        first: Tensor = (moved + (weights * sides).sum(1)) / (1 + weights.sum(1))

        there = _is_region(wanted["regions"]).to(weights)
        shares = wanted["scores"].softmax(2) * there[:, :, None]
        logs = wanted["scores"].log_softmax(2) - outputs["scores"].log_softmax(2)
        sides = (outputs["boxes"] - wanted["boxes"]).abs().sum(3)
        objects = shares[:, :, 1:]
        moved = (shares * logs).sum((1, 2)) + (objects * sides[:, :, 1:]).sum((1, 2))
        second: Tensor = moved / (1 + objects.sum((1, 2)))
        return first + second

    def decoded(self, network: nn.Module) -> nn.Module:
        """Return the module to export: (B, 3, H, W) → (B, 4 + 5 nc, R).

        The first four rows are the R regions that were looked at, ltrb in input pixels; then
        come the boxes of each class, ltrb, and at last the scores in [0, 1], without the
        background.
        """
        return Decoded(network)


class Decoded(nn.Module):
    """A network, and what its outputs mean; see `decoded`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Look where the network itself proposes to."""
        named = part_of(self.network, "backbone")(images)
        first = proposed(self.network, images, named)
        return self._seen(images, named, best(part_of(self.network, "rpn"), first, images))

    def candidates(self, images: Tensor) -> Tensor:
        """Return what there is to propose, (B, A, 5): ltrb in pixels, and its logit."""
        first = proposed(self.network, images, part_of(self.network, "backbone")(images))
        boxes = cut(first["boxes"], images.shape[2], images.shape[3])
        return torch.cat((boxes, first["objectness"][..., None]), 2)

    def at_regions(self, images: Tensor, regions: Tensor) -> Tensor:
        """Look where somebody else proposes to, (B, R, 4)."""
        return self._seen(images, part_of(self.network, "backbone")(images), regions)

    def _seen(self, images: Tensor, named: dict[str, Tensor], regions: Tensor) -> Tensor:
        second, (height, width) = part_of(self.network, "roi_heads"), images.shape[2:]
        pool = second.box_roi_pool
        levels = [named[name] for name in pool.featmap_names if name in named]
        seen = pool_regions(
            levels,
            regions,
            [level.shape[2] / height for level in levels],
            pool.output_size[0],
            pool.sampling_ratio,
        )
        logits, moved = second.box_predictor(second.box_head(seen))
        boxes = second.box_coder.decode_single(moved, regions.flatten(0, 1))
        count = logits.shape[1]
        boxes = cut(boxes.view(len(images), -1, count, 4)[:, :, 1:], height, width)
        large = ((boxes[..., 2:] - boxes[..., :2]) >= LEAST_SIDE_PX).all(3)
        large = large & _is_region(regions)[:, :, None]
        scores = logits.softmax(1).view(len(images), -1, count)[:, :, 1:] * large
        return torch.cat((regions, boxes.flatten(2), scores), 2).transpose(1, 2)


def _on_backbone(backbone: str, classes: int) -> nn.Module:
    """Return a Faster R-CNN on one of the small backbones."""
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    anchors = AnchorGenerator(ANCHOR_SIDES_PX, (RATIOS,) * len(ANCHOR_SIDES_PX))
    network: nn.Module = detection().FasterRCNN(
        mobile_pyramid(backbone, coarser="pool"),
        classes,
        rpn_anchor_generator=anchors,
        **FEW_REGIONS,
    )
    return network


def _is_region(regions: Tensor) -> Tensor:
    """Whether each of (…, 4) is one: what is missing of a fixed number has no size."""
    return regions[..., 2] > regions[..., 0]


def _first_loss(
    network: nn.Module, one: dict[str, Tensor], boxes: Tensor, anchors: Tensor
) -> Tensor:
    rpn, target = part_of(network, "rpn"), [{"boxes": boxes}]
    labels, matched = rpn.assign_targets_to_anchors([anchors], target)
    wanted = rpn.box_coder.encode(matched, [anchors])
    found: Tensor = sum(rpn.compute_loss(one["objectness"], one["deltas"], labels, wanted))
    return found


def _second_loss(
    network: nn.Module, one: dict[str, Tensor], boxes: Tensor, labels: Tensor
) -> Tensor:
    from torchvision.models.detection.roi_heads import fastrcnn_loss

    second = part_of(network, "roi_heads")
    regions = one["regions"].to(boxes)
    (matched,), (classes,) = second.assign_targets_to_proposals([regions], [boxes], [labels])
    classes = torch.where(_is_region(regions), classes, -1)  # torchvision leaves those out
    (sample,) = second.subsample([classes])
    if not len(sample):
        return one["scores"].sum() * 0
    near = boxes[matched[sample]] if len(boxes) else boxes.new_zeros(len(sample), 4)
    wanted = second.box_coder.encode([near], [regions[sample]])
    found: Tensor = sum(
        fastrcnn_loss(
            one["scores"][sample], one["boxes"][sample].flatten(1), [classes[sample]], wanted
        )
    )
    return found


@contextmanager
def _sampled_alike(device: torch.device) -> Iterator[None]:
    """Draw the same samples each time, and leave the global random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        yield


def _anchors(network: nn.Module, levels: Sequence[Tensor], like: Tensor) -> Tensor:
    """Return the anchors (A, 4) of outputs; the pooling knows the scale of its first level."""
    scale = part_of(network, "roi_heads").box_roi_pool.scales[0]
    height, width = (round(side / scale) for side in levels[0].shape[2:])
    return grid(network, levels, (height, width)).to(like)
