"""RetinaNet and FCOS find and lose what torchvision's own modules do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import clip_boxes_to_image

from runtime_bench.errors import EdgeError
from xprune.models.families import ONE_STAGE, check_architecture, find_architecture
from xprune.models.targets import Targets
from xprune.models.torchvision import one_stage

SIZE = (96, 128)
SMALL = ("retinanet:mobilenet_v2", "retinanet:shufflenet_v2_x0_5")
LARGE = tuple(name for name in one_stage.NAMES if name not in SMALL)
CLASSES = 3


def built(name: str) -> nn.Module:
    """A network whose scores are not all alike, and whose transform leaves inputs alone."""
    network = ONE_STAGE.build_network({"family": "one_stage", "name": name, "nc": CLASSES})
    generator = torch.Generator().manual_seed(7)
    for key in ("cls_logits", "bbox_reg", "bbox_ctrness"):
        for path, module in network.head.named_modules():
            if path.endswith(key):
                noise = torch.randn(module.weight.shape, generator=generator)
                module.weight.data += 0.1 * noise
    network.transform = GeneralizedRCNNTransform(
        min(SIZE), max(SIZE), [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], size_divisible=1
    )
    return network


def inputs(count: int) -> Tensor:
    """Noise, normalised."""
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    "name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
)
def test_it_finds_what_torchvision_finds(name: str):
    """Before any is suppressed: the same boxes, scores and classes as torchvision's forward."""
    network = built(name)
    images = inputs(2)
    with torch.no_grad():
        raw = ONE_STAGE.decoded(network)(images)
        assert raw.shape[:2] == (2, 4 + CLASSES)
        least = in_a_gap(raw[:, 4:])
        network.score_thresh, network.topk_candidates = least, 100_000
        network.nms_thresh, network.detections_per_img = 1.1, 100_000
        theirs = network(list(images))

    for one, expected in zip(raw, theirs, strict=True):
        shown = expected["labels"] > 0  # RetinaNet scores the background too, which is no class
        labels, places = (one[4:] > least).nonzero(as_tuple=True)
        inside = clip_boxes_to_image(corners(one[:4, places].T), SIZE)
        ours = rows(one[4 + labels, places], inside, labels + 1)
        wanted = rows(*(expected[key][shown] for key in ("scores", "boxes", "labels")))
        assert len(ours) == len(wanted) > 10
        # Equal scores may come in any order.
        apart = torch.cdist(ours, wanted)
        assert apart.amin(0).max() < 0.01
        assert apart.amin(1).max() < 0.01


def in_a_gap(scores: Tensor) -> float:
    """Return what a few hundred scores exceed, and none is near."""
    highest = scores.flatten().topk(400).values
    at = 200 + int((highest[200:-1] - highest[201:]).argmax())
    return float(highest[at : at + 2].mean())


def rows(scores: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
    """Return (N, 6), in units in which a hundredth is little."""
    return torch.cat((scores[:, None] * 100, boxes, labels[:, None] * 100.0), 1).double()


def corners(boxes: Tensor) -> Tensor:
    """Return (N, 4), centre and size, as left, top, right and bottom."""
    return torch.cat((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1)


@pytest.mark.parametrize(
    "name",
    [*SMALL, pytest.param("fcos_resnet50_fpn", marks=pytest.mark.slow)],
)
def test_it_loses_what_torchvision_loses(name: str):
    """The sum of the losses of its own forward in training, picture by picture."""
    network = built(name)
    images = inputs(2)
    targets = [
        Targets(torch.tensor([[8.0, 8.0, 60.0, 70.0], [30, 20, 90, 80]]), torch.tensor([0, 2])),
        Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    ]

    outputs = ONE_STAGE.head_outputs(network, images)
    losses = ONE_STAGE.picture_losses(network, outputs, targets)

    network.training = True  # of the outermost module alone: batch norms stay frozen
    for image, target, loss in zip(images, targets, losses, strict=True):
        wanted = {"boxes": target.boxes, "labels": target.labels + 1}
        theirs = network([image], [wanted])
        torch.testing.assert_close(loss, sum(theirs.values()))
    assert ONE_STAGE.batch_loss(network, outputs, targets) == losses.mean()


def test_nothing_moved_is_no_distance():
    """And any change of scores or boxes is one."""
    network = built(SMALL[0])
    with torch.no_grad():
        outputs = ONE_STAGE.head_outputs(network, inputs(2))
    other = {**outputs, "boxes": outputs["boxes"] + 0.1}

    assert ONE_STAGE.output_distances(outputs, outputs).abs().max() < 1e-6
    assert (ONE_STAGE.output_distances(other, outputs) > 0).all()
    less = {**outputs, "scores": outputs["scores"] - 1.0}
    assert (ONE_STAGE.output_divergences(less, outputs) > 0).all()


@pytest.mark.parametrize("name", ["retinanet:shufflenet_v2_x0_5", "fcos_resnet50_fpn"])
def test_classes_are_counted_without_the_background(name: str):
    """By the last layer of the classes, whatever anchors a place has."""
    network = ONE_STAGE.build_network({"family": "one_stage", "name": name, "nc": 5})

    assert ONE_STAGE.classes_in(network.state_dict()) == 5
    assert ONE_STAGE.classes_in({}) is None


def test_names_are_those_of_torchvision():
    """COCO's, with the gaps that its numbers have; nobody's for another number."""
    names = ONE_STAGE.class_names(find_architecture("retinanet_resnet50_fpn"))

    assert names is not None
    assert (len(names), names[0], names[-1]) == (90, "person", "toothbrush")
    assert ONE_STAGE.class_names({"nc": 4}) is None


@pytest.mark.parametrize("raw", [{"name": "retinanet:../x", "nc": 3}, {"name": 3, "nc": 3}])
def test_what_is_not_known_is_not_built(raw: dict):
    """One line."""
    with pytest.raises(EdgeError, match="no detector is called"):
        check_architecture({"family": "one_stage", **raw}, where="a file")
