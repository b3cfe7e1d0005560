"""SSD300 and SSDlite find and lose what torchvision's own modules do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from runtime_bench.artifact.decode import decode_yolo
from runtime_bench.artifact.detections import Detections, match_detections
from runtime_bench.artifact.preprocess import prepare
from runtime_bench.errors import EdgeError
from tests.reference.lively_ssd import SSD300_STRENGTH, lively_ssd
from xprune.models.families import SSD, check_architecture, find_architecture
from xprune.models.targets import Targets
from xprune.models.torchvision import ssd

CLASSES = 3
# Of an SSD300, near the least that it takes.
SIZES = {ssd.SSDLITE: (96, 128), ssd.SSD300: (268, 300)}
LIGHT_FIRST = [ssd.SSDLITE, pytest.param(ssd.SSD300, marks=pytest.mark.slow)]


def built(name: str) -> nn.Module:
    """A network whose scores are not all alike, and whose transform leaves inputs alone."""
    network = lively_ssd(name, CLASSES)
    fixed = SIZES[name][::-1]
    network.transform = GeneralizedRCNNTransform(
        1, 1, [0.0] * 3, [1.0] * 3, size_divisible=1, fixed_size=fixed
    )
    return network


def inputs(name: str, count: int) -> Tensor:
    """Noise, normalised."""
    noise = torch.randn(count, 3, *SIZES[name], generator=torch.Generator().manual_seed(2))
    return noise * (SSD300_STRENGTH if name == ssd.SSD300 else 1.0)


@pytest.mark.parametrize("name", LIGHT_FIRST)
def test_it_finds_what_torchvision_finds(name: str):
    """Before any is suppressed: the same boxes, scores and classes as torchvision's forward."""
    network = built(name)
    images = inputs(name, 2)
    with torch.no_grad():
        raw = SSD.decoded(network)(images)
        assert raw.shape[:2] == (2, 4 + CLASSES)
        network.score_thresh, network.topk_candidates = 0.0, 100_000
        network.nms_thresh, network.detections_per_img = 1.1, 100_000
        theirs = network(list(images))

    assert raw[:, 4:].amax() - raw[:, 4:].amin() > 0.5
    for one, expected in zip(raw, theirs, strict=True):
        assert len(expected["scores"]) == CLASSES * one.shape[1]
        # Ours are by class and then by place; theirs by score, in which none is like another.
        ours, boxes = one[4:].flatten(), corners(one[:4].T).repeat(CLASSES, 1)
        labels = torch.arange(1, CLASSES + 1).repeat_interleave(one.shape[1])
        order = ours.argsort(descending=True, stable=True)
        torch.testing.assert_close(ours[order], expected["scores"])
        same = (labels[order] == expected["labels"]).float().mean()
        apart = (boxes[order] - expected["boxes"]).abs().amax(1)
        assert same > 0.99
        assert (apart < 1e-3).float().mean() > 0.99


@pytest.mark.parametrize("name", LIGHT_FIRST)
def test_it_keeps_what_torchvision_keeps(name: str):
    """With its limits, suppression included: the numpy decoder's answer is torchvision's."""
    network = built(name)
    architecture = {"family": "ssd", "name": name, "nc": CLASSES}
    images = inputs(name, 1)
    network.topk_candidates = 100_000  # of each class before suppression: ours looks at all
    with torch.no_grad():
        raw = SSD.decoded(network)(images)[0].numpy()
        (theirs,) = network(list(images))

    found = decode_yolo(
        raw,
        min_score=network.score_thresh,
        iou=SSD.nms_iou(architecture),
        max_boxes=network.detections_per_img,
    )

    wanted = Detections(
        theirs["boxes"].numpy(), theirs["scores"].numpy(), theirs["labels"].numpy() - 1
    )
    assert len(found) == len(wanted) > 100
    pairs = match_detections(wanted, found, min_iou=0.95).pairs
    # Of boxes that overlap by the limit itself one may fall on the other side of it.
    assert len(pairs) >= len(wanted) - 2
    apart = np.abs(wanted.scores[pairs[:, 0]] - found.scores[pairs[:, 1]])
    assert apart.max() < 1e-5


def corners(boxes: Tensor) -> Tensor:
    """Return (N, 4), centre and size, as left, top, right and bottom."""
    return torch.cat((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1)


@pytest.mark.parametrize("name", LIGHT_FIRST)
def test_it_loses_what_torchvision_loses(name: str):
    """The sum of the losses of its own forward in training, picture by picture."""
    network = built(name)
    images = inputs(name, 2)
    targets = [
        Targets(torch.tensor([[8.0, 8.0, 60.0, 70.0], [30, 20, 90, 80]]), torch.tensor([0, 2])),
        Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    ]

    outputs = SSD.head_outputs(network, images)
    losses = SSD.picture_losses(network, outputs, targets)

    network.training = True  # of the outermost module alone: batch norms stay frozen
    for image, target, loss in zip(images, targets, losses, strict=True):
        wanted = {"boxes": target.boxes, "labels": target.labels + 1}
        theirs = network([image], [wanted])
        torch.testing.assert_close(loss, sum(theirs.values()))
    assert losses[0] > 0
    assert losses[1] == 0  # no object, so no place without one counts either
    assert SSD.batch_loss(network, outputs, targets) == losses.mean()


@pytest.mark.parametrize("name", LIGHT_FIRST)
def test_pictures_are_prepared_as_its_transform_does(name: str):
    """The one that torchvision builds into the network: size, mean and deviation."""
    architecture = find_architecture(name)
    network = lively_ssd(name, CLASSES)
    picture = np.random.default_rng(0).integers(0, 256, (240, 370, 3), dtype=np.uint8)

    size = SSD.usual_size(architecture)
    image, placement = prepare(picture, SSD.preprocessing(architecture).at(size))

    values = torch.from_numpy(picture.transpose(2, 0, 1).copy()).float() / 255
    wanted, _ = network.transform([values])
    assert placement.inner_size == size == tuple(wanted.tensors.shape[2:])
    np.testing.assert_allclose(image, wanted.tensors[0].numpy(), rtol=0, atol=1e-4)
    assert SSD.nms_iou(architecture) == network.nms_thresh


def test_nothing_moved_is_no_distance():
    """And any change of scores or boxes is one."""
    network = built(ssd.SSDLITE)
    with torch.no_grad():
        outputs = SSD.head_outputs(network, inputs(ssd.SSDLITE, 2))
    boxes = {**outputs, "boxes": outputs["boxes"] + 0.1}
    scores = outputs["scores"].clone()
    scores[:, 0] -= 1.0

    assert SSD.output_distances(outputs, outputs).abs().max() < 1e-6
    assert (SSD.output_distances(boxes, outputs) > 0).all()
    assert (SSD.output_divergences({**outputs, "scores": scores}, outputs) > 0).all()
    # A number that is added to all of a place changes nothing of what it says.
    shifted = {**outputs, "scores": outputs["scores"] + 5.0}
    assert SSD.output_distances(shifted, outputs).abs().max() < 1e-4


def test_scores_diverge_as_pytorchs_distributions_do():
    """A categorical variable at each place, written out with `torch.distributions`."""
    network = built(ssd.SSDLITE)
    with torch.no_grad():
        wanted = SSD.head_outputs(network, inputs(ssd.SSDLITE, 2))
        found = SSD.head_outputs(network, inputs(ssd.SSDLITE, 2) + 0.3)

    distances = SSD.output_distances({**found, "boxes": wanted["boxes"]}, wanted)

    now, then = (
        torch.distributions.Categorical(logits=outputs["scores"].transpose(1, 2))
        for outputs in (found, wanted)
    )
    total = torch.distributions.kl_divergence(then, now).sum(1)
    torch.testing.assert_close(distances, total / (1 + then.probs[..., 1:].amax(2).sum(1)))


@pytest.mark.parametrize("name", ssd.NAMES)
def test_classes_are_counted_without_the_background(name: str):
    """By the last layer of the classes, whatever stands before it."""
    assert SSD.classes_in(lively_ssd(name, CLASSES).state_dict()) == CLASSES
    assert SSD.classes_in({}) is None


def test_names_are_those_of_torchvision():
    """COCO's, with the gaps that its numbers have; nobody's for another number."""
    names = SSD.class_names(find_architecture(ssd.SSD300))

    assert names is not None
    assert (len(names), names[0], names[-1]) == (90, "person", "toothbrush")
    assert SSD.class_names({"nc": 4}) is None


def test_an_input_without_a_last_map_is_refused():
    """An SSD300 takes 268 pixels at least; all maps of an SSDlite have a place, always."""
    large, small = (lively_ssd(name, CLASSES) for name in (ssd.SSD300, ssd.SSDLITE))

    with pytest.raises(EdgeError, match=r"264x300 is too small .* use --imgsz 268"):
        SSD.check_size(large, (264, 300))
    SSD.check_size(large, (268, 268))
    SSD.check_size(small, (4, 4))
    with torch.no_grad():
        assert SSD.decoded(small)(torch.zeros(1, 3, 4, 4)).isfinite().all()


@pytest.mark.parametrize("raw", [{"name": "ssd512", "nc": 3}, {"name": 3, "nc": 3}])
def test_what_is_not_known_is_not_built(raw: dict):
    """One line."""
    with pytest.raises(EdgeError, match="no detector is called"):
        check_architecture({"family": "ssd", **raw}, where="a file")
