"""Faster R-CNN proposes, finds and loses what torchvision's own modules do."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from runtime_bench.errors import EdgeError
from xprune.layers.candidates import find_candidates
from xprune.layers.substitutes import applicable, substitute_macs
from xprune.models.detector import Detector
from xprune.models.families import TWO_STAGE, check_architecture, find_architecture
from xprune.models.files.checkpoint import save_checkpoint
from xprune.models.load import load_detector
from xprune.models.targets import Targets
from xprune.models.torchvision import two_stage

SIZE = (96, 128)
SMALL = ("fasterrcnn:shufflenet_v2_x0_5", "fasterrcnn:mobilenet_v2")
LARGE = tuple(name for name in two_stage.NAMES if name not in SMALL)
CLASSES = 3
# So that of thousands of anchors no two score the same to the last bit.
WIDE = (SMALL[0], "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_mobilenet_v3_large_fpn")
SPREAD = dict.fromkeys(WIDE, 1e5)


def built(name: str) -> nn.Module:
    """A network whose scores are not all alike, and whose transform leaves inputs alone."""
    network = TWO_STAGE.build_network({"family": "two_stage", "name": name, "nc": CLASSES})
    generator = torch.Generator().manual_seed(7)
    sizes = {"rpn.head.cls_logits": SPREAD.get(name, 1.0) * 0.01, "cls_score": 0.02}
    for path, module in network.named_modules():
        for key, size in {**sizes, "bbox_pred": 0.01}.items():
            if path.endswith(key):
                noise = torch.randn(module.weight.shape, generator=generator)
                module.weight.data += size * noise
    network.transform = GeneralizedRCNNTransform(
        min(SIZE), max(SIZE), [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], size_divisible=1
    )
    return network.eval()


def inputs(count: int) -> Tensor:
    """Noise, normalised."""
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(2))


EVERY = [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]


@pytest.mark.parametrize("name", EVERY)
def test_it_finds_what_torchvision_finds(name: str):
    """Before any is suppressed: the same boxes, scores and classes as torchvision's forward."""
    network = built(name)
    images = inputs(2)
    heads = network.roi_heads
    heads.score_thresh, heads.nms_thresh, heads.detections_per_img = 0.01, 1.1, 100_000
    with torch.no_grad():
        raw = TWO_STAGE.decoded(network)(images)
        theirs = network(list(images))

    for one, expected in zip(raw, theirs, strict=True):
        boxes = one[4 : 4 + 4 * CLASSES].T.reshape(-1, CLASSES, 4)
        scores = one[-CLASSES:].T
        places, labels = (scores > heads.score_thresh).nonzero(as_tuple=True)
        ours = rows(scores[places, labels], boxes[places, labels], labels + 1)
        wanted = rows(*(expected[key] for key in ("scores", "boxes", "labels")))
        assert len(ours) == len(wanted) > 10
        # Equal scores may come in any order.
        apart = torch.cdist(ours, wanted)
        assert apart.amin(0).max() < 0.01
        assert apart.amin(1).max() < 0.01


def rows(scores: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
    """Return (N, 6), in units in which a hundredth is little."""
    return torch.cat((scores[:, None] * 100, boxes, labels[:, None] * 100.0), 1).double()


@pytest.mark.parametrize("name", [SMALL[0], "fasterrcnn_resnet50_fpn"])
def test_it_proposes_what_torchvision_proposes(name: str):
    """The same regions in the same order; what is missing at the end has no size."""
    network = built(name)
    images = inputs(2)
    with torch.no_grad():
        regions = TWO_STAGE.decoded(network)(images)[:, :4].transpose(1, 2)
        levels = network.backbone(images)
        theirs, _ = network.rpn(ImageList(images, [SIZE] * 2), levels)

    for ours, wanted in zip(regions, theirs, strict=True):
        torch.testing.assert_close(ours[: len(wanted)], wanted)
        assert not ours[len(wanted) :].any()


@pytest.mark.parametrize("regions", [20, 400])
def test_as_many_regions_are_looked_at_as_are_asked_for(regions: int, tmp_path: Path):
    """Those of torchvision with that number, fewer or more than its own; files remember it."""
    network = built(SMALL[0])
    architecture = {"family": "two_stage", "name": SMALL[0], "nc": CLASSES}
    upstream = copy.deepcopy(network)
    upstream.rpn._pre_nms_top_n["testing"] = max(150, regions)
    upstream.rpn._post_nms_top_n["testing"] = regions
    images = inputs(1)

    told = TWO_STAGE.look_at(network, architecture, regions)
    path = tmp_path / "looks.safetensors"
    names = tuple("abc")
    save_checkpoint(
        path, Detector(network, "x", "two_stage", names, 32, told, "BSD-3-Clause", None)
    )
    with torch.no_grad():
        found = TWO_STAGE.decoded(load_detector(str(path)).network)(images)[:, :4]
        theirs, _ = upstream.rpn(ImageList(images, [SIZE]), upstream.backbone(images))

    assert found.shape == (1, 4, regions)
    wanted = theirs[0]
    torch.testing.assert_close(found[0].T[: len(wanted)], wanted)
    assert not found[0].T[len(wanted) :].any()


@pytest.mark.parametrize("regions", [0, 10_001, True, 2.0])
def test_a_number_of_regions_that_cannot_be_is_refused(regions: object):
    """One line."""
    raw = {"family": "two_stage", "name": SMALL[0], "nc": 3, "regions": regions}
    with pytest.raises(EdgeError, match="a file: regions is not a whole number"):
        check_architecture(raw, where="a file")


@pytest.mark.parametrize("name", [SMALL[0], pytest.param(LARGE[0], marks=pytest.mark.slow)])
def test_it_loses_what_torchvision_loses(name: str, monkeypatch: pytest.MonkeyPatch):
    """The sum of the losses of its own forward in training, picture by picture.

    With the same samples, as many proposals, and no target added to them.
    """
    network = built(name)
    images = inputs(2)
    targets = [
        Targets(torch.tensor([[8.0, 8.0, 60.0, 70.0], [30, 20, 90, 80]]), torch.tensor([0, 2])),
        Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    ]

    outputs = TWO_STAGE.head_outputs(network, images)
    losses = TWO_STAGE.picture_losses(network, outputs, targets)
    again = TWO_STAGE.picture_losses(network, outputs, targets)

    monkeypatch.setattr(
        network.roi_heads, "add_gt_proposals", lambda proposals, boxes: proposals
    )
    counts = {"training": two_stage.LOOKED_AT, "testing": two_stage.LOOKED_AT}
    before = network.rpn._pre_nms_top_n["testing"]
    monkeypatch.setattr(network.rpn, "_post_nms_top_n", counts)
    monkeypatch.setattr(network.rpn, "_pre_nms_top_n", dict.fromkeys(counts, before))
    for module in (network, network.rpn, network.roi_heads):
        module.training = True  # of these alone: batch norms stay frozen
    for image, target, loss in zip(images, targets, losses, strict=True):
        wanted = {"boxes": target.boxes, "labels": target.labels + 1}
        torch.manual_seed(two_stage.SEED)
        theirs = network([image], [wanted])
        torch.testing.assert_close(loss, sum(theirs.values()))
    assert torch.equal(losses, again)
    assert TWO_STAGE.batch_loss(network, outputs, targets) == losses.mean()


def test_losing_draws_nothing_from_anybody_else():
    """The global random state is as it was."""
    network = built(SMALL[0])
    outputs = TWO_STAGE.head_outputs(network, inputs(1))
    torch.manual_seed(5)
    wanted = torch.rand(3)

    torch.manual_seed(5)
    TWO_STAGE.picture_losses(network, outputs, [Targets(torch.zeros(0, 4), torch.zeros(0))])

    assert torch.equal(torch.rand(3), wanted)


def test_nothing_moved_is_no_distance():
    """And any change of either stage is one."""
    network = built(SMALL[0])
    with torch.no_grad():
        outputs = TWO_STAGE.head_outputs(network, inputs(2))

    assert TWO_STAGE.output_distances(outputs, outputs).abs().max() < 1e-6
    for part in ("objectness", "deltas", "scores", "boxes"):
        noise = torch.randn(outputs[part].shape, generator=torch.Generator().manual_seed(1))
        other = {**outputs, part: outputs[part] + 0.1 * noise}
        assert (TWO_STAGE.output_divergences(other, outputs) > 0).all(), part


def test_another_network_looks_where_it_is_told():
    """Only so what two networks see can be compared."""
    network, other = built(SMALL[0]), built(SMALL[1])
    with torch.no_grad():
        wanted = TWO_STAGE.head_outputs(network, inputs(2))
        found = TWO_STAGE.head_outputs(other, inputs(2), wanted["regions"])
        alone = TWO_STAGE.head_outputs(other, inputs(2))

    assert torch.equal(found["regions"], wanted["regions"])
    assert not torch.equal(alone["regions"], wanted["regions"])
    assert TWO_STAGE.output_distances(found, wanted).isfinite().all()
    with pytest.raises(AssertionError, match="two regions"):
        TWO_STAGE.output_distances(alone, wanted)


def test_the_box_head_is_torchvisions():
    """The same weights by the same names, and the same features, as a map of one pixel."""
    network = TWO_STAGE.build_network({"family": "two_stage", "name": SMALL[0], "nc": 3})
    theirs = TwoMLPHead(256 * 7 * 7, 1024)
    theirs.load_state_dict(network.roi_heads.box_head.state_dict())
    seen = torch.randn(5, 256, 7, 7, generator=torch.Generator().manual_seed(1))

    found = network.roi_heads.box_head(seen)

    assert found.shape == (5, 1024, 1, 1)
    torch.testing.assert_close(found.flatten(1), theirs(seen))


def test_both_stages_can_be_pruned():
    """Layers of the pyramid, of the first stage, and both linear layers of the box head."""
    network = TWO_STAGE.build_network({"family": "two_stage", "name": SMALL[0], "nc": 3})
    image = torch.zeros(1, 3, *SIZE)

    found = find_candidates(network, lambda: TWO_STAGE.head_outputs(network, image))

    by_name = {candidate.name: candidate for candidate in found}
    fc6, fc7 = (by_name[f"roi_heads.box_head.{name}"] for name in ("fc6", "fc7"))
    assert fc6.macs == two_stage.LOOKED_AT * 256 * 7 * 7 * 1024
    assert fc6.maps == two_stage.LOOKED_AT
    assert substitute_macs(fc7, "linear") == fc7.macs
    assert applicable(fc6) == ("linear",)
    assert applicable(fc7)[:2] == ("identity", "affine")
    assert {"backbone.fpn.layer_blocks.0", "rpn.head.conv"} <= set(by_name)


def test_gradients_reach_both_stages():
    """Of the loss, at a layer of the first, of the pyramid, and of the second."""
    network = built(SMALL[0])
    seen = []
    for name in ("rpn.head.conv", "backbone.fpn.layer_blocks.0", "roi_heads.box_head.fc7"):
        network.get_submodule(name).register_forward_hook(
            lambda module, args, output: seen.append(output)
        )
    images = inputs(1).requires_grad_()
    box = torch.tensor([[8.0, 8.0, 60.0, 70.0]])

    outputs = TWO_STAGE.head_outputs(network, images)
    loss = TWO_STAGE.picture_losses(network, outputs, [Targets(box, torch.tensor([1]))]).sum()
    gradients = torch.autograd.grad(loss, seen)

    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_classes_are_counted_without_the_background():
    """By the last layer of the classes."""
    network = TWO_STAGE.build_network({"family": "two_stage", "name": SMALL[0], "nc": 5})

    assert TWO_STAGE.classes_in(network.state_dict()) == 5
    assert TWO_STAGE.classes_in({}) is None


def test_names_are_those_of_torchvision():
    """COCO's, with the gaps that its numbers have; nobody's for another number."""
    names = TWO_STAGE.class_names(find_architecture("fasterrcnn_resnet50_fpn"))

    assert names is not None
    assert (len(names), names[0], names[-1]) == (90, "person", "toothbrush")
    assert TWO_STAGE.class_names({"nc": 4}) is None


@pytest.mark.parametrize("raw", [{"name": "fasterrcnn:../x", "nc": 3}, {"name": 3, "nc": 3}])
def test_what_is_not_known_is_not_built(raw: dict):
    """One line."""
    with pytest.raises(EdgeError, match="no detector is called"):
        check_architecture({"family": "two_stage", **raw}, where="a file")
