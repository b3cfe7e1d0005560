"""Pictures and targets as a network takes them, and its own detections in their place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import box_iou

from runtime_bench.accuracy.coco import Accuracy
from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.preprocess import letterbox, prepare, read_picture
from runtime_bench.data.dataset import Picture, read_dataset
from tests.reference.cards import raw_manifest
from tests.reference.toy_networks import tiny_yolo
from xprune.data.batches import PictureTensor, own_answers, read_pictures
from xprune.data.evaluate import network_accuracy
from xprune.models.families import YOLO

SPEC = InputSpec(size=(64, 96))


@pytest.fixture
def pictures(make) -> tuple[Picture, ...]:
    """Five labelled pictures of 30 x 40 pixels."""
    return read_dataset(make.coco("val", 5)).pictures


@pytest.fixture
def tensors(pictures) -> PictureTensor:
    """The same, letterboxed."""
    return read_pictures(pictures, SPEC, label="Reading")


def test_pictures_are_letterboxed_and_kept_small(pictures, tensors):
    """As the device will see them, to the last bit, though a byte is kept for each value."""
    assert tensors.pixels.dtype == torch.uint8
    assert tensors.pixels.shape == (5, 3, 64, 96)
    for index, picture in enumerate(pictures):
        image, _ = letterbox(read_picture(picture.path), SPEC)
        assert torch.equal(tensors.images(index, index + 1)[0], torch.from_numpy(image))


@pytest.mark.parametrize("resize", ["fit", "stretch"])
def test_values_between_whole_ones_are_rounded(pictures, resize):
    """Half a step of 255 at most from what the device will see; boxes move as pixels do."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    spec = InputSpec(
        size=SPEC.size, resize=resize, mean=mean, std=std, pad_value=None, centred=False
    )

    tensors = read_pictures(pictures, spec, label="Reading")

    assert tensors.pixels.dtype == torch.uint8
    for index, picture in enumerate(pictures):
        image, _ = prepare(read_picture(picture.path), spec)
        apart = np.abs(tensors.images(index, index + 1)[0].numpy() - image)
        assert (apart.max((1, 2)) <= 0.501 / 255 / np.array(std)).all()
        # 30 x 40 pixels become 64 x 85, or 64 x 96.
        across = (85 if resize == "fit" else 96) / 40
        expected = picture.boxes[~picture.crowd] * np.tile([across, 64 / 30], 2)
        np.testing.assert_allclose(tensors.labels[index].boxes, expected, rtol=1e-6)


def test_boxes_move_with_their_pictures(pictures, tensors):
    """30 x 40 pixels become 64 x 85 with a margin of 5 on the left, written out by hand."""
    for picture, targets in zip(pictures, tensors.labels, strict=True):
        singles = picture.boxes[~picture.crowd].astype(np.float64)
        expected = singles * [85 / 40, 64 / 30, 85 / 40, 64 / 30] + [5, 0, 5, 0]
        np.testing.assert_allclose(targets.boxes, expected, rtol=1e-6)


def test_a_box_covers_the_same_pixels(make):
    """A white rectangle on black lies under its moved box, seen in the letterboxed picture."""
    path = make.coco("val", 1)
    (picture,) = read_dataset(path).pictures
    left, top, right, bottom = picture.boxes[0].astype(int)
    canvas = np.zeros((30, 40, 3), np.uint8)
    canvas[top:bottom, left:right] = 255
    Image.fromarray(canvas).save(picture.path)

    tensors = read_pictures([picture], SPEC, label="Reading")

    rows, columns = np.nonzero(tensors.pixels[0].numpy().min(axis=0) > 200)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(tensors.labels[0].boxes[0], seen, atol=1.5)


def test_crowds_are_no_targets(pictures, tensors):
    """The third box of each picture stands for a group."""
    for picture, targets in zip(pictures, tensors.labels, strict=True):
        assert picture.crowd.tolist() == [False, False, True]
        assert targets.labels.tolist() == picture.labels[:2].tolist()
        assert targets.boxes.dtype == torch.float32
        assert targets.labels.dtype == torch.int64


def test_a_picture_without_boxes_has_empty_targets(make):
    """Of the right shapes."""
    (one, *_) = read_dataset(make.unlabelled("pool", 1)).pictures

    (targets,) = read_pictures([one], SPEC, label="Reading").labels

    assert targets.boxes.shape == (0, 4)
    assert targets.labels.shape == (0,)


@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_batches_hold_every_picture_once(tensors, size):
    """In order, the last batch short."""
    batches = list(tensors.batches(size))

    assert torch.equal(torch.cat(batches), tensors.images())
    assert all(len(batch) == size for batch in batches[:-1])


class Finder(nn.Module):
    """Finds the same on every picture: rows (1, 4 + classes, A)."""

    def __init__(self, found: Tensor) -> None:
        super().__init__()
        self.found = found

    def forward(self, images: Tensor) -> Tensor:
        return self.found.expand(len(images), -1, -1)


def test_own_detections_become_targets(tensors):
    """Sure ones only, overlapping ones once, as corners, rounded to quarters of a pixel."""
    rows = [  # centre x, centre y, width, height, three scores
        [30.13, 20.0, 20.0, 10.0, 0.0, 0.9, 0.0],
        [30.6, 20.0, 20.0, 10.0, 0.0, 0.8, 0.0],
        [60.0, 40.0, 10.0, 30.0, 0.5, 0.0, 0.0],
        [60.0, 20.0, 10.0, 10.0, 0.24, 0.0, 0.1],
    ]
    decoded = Finder(torch.tensor(rows).T[None])

    manifest = raw_manifest(SPEC.size, 3, min_score=0.25)
    targets = own_answers(decoded, tensors, manifest, batch=2)

    assert len(targets) == 5
    for one in targets:
        assert one.boxes.tolist() == [[20.25, 15, 40.25, 25], [55, 25, 65, 55]]
        assert one.labels.tolist() == [1, 0]
        assert one.boxes.dtype == torch.float32


def test_own_detections_of_a_yolo_agree_with_its_output(tensors):
    """Each target lies on an anchor whose score counts; batches do not matter."""
    decoded = YOLO.decoded(tiny_yolo())
    with torch.no_grad():
        raw = decoded(tensors.images())
    min_score = float(raw[:, 4:].amax(dim=(1, 2)).min()) * 0.95

    manifest = raw_manifest(SPEC.size, raw.shape[1] - 4, min_score=min_score)
    single, together = (
        own_answers(decoded, tensors, manifest, batch=batch) for batch in (1, 8)
    )

    for index, (one, other) in enumerate(zip(single, together, strict=True)):
        assert len(one.labels) > 0
        assert torch.equal(one.labels, other.labels)
        assert torch.allclose(one.boxes, other.boxes, atol=0.25)
        x, y, width, height = raw[index, :4]
        corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
        for box, label in zip(one.boxes, one.labels, strict=True):
            nearest = int(box_iou(box[None], corners).argmax())
            assert (box - corners[nearest]).abs().max() <= 0.126
            assert raw[index, 4 + label].max() >= min_score


def test_accuracy_of_a_network_that_finds_everything_is_one(make):
    """Boxes go back to the pixels of each picture, so perfect detections score 1."""
    dataset = read_dataset(make.coco("val", 1, names=("owl", "cat", "dog")))
    tensors = read_pictures(dataset.pictures, SPEC, label="Reading")
    boxes, labels = tensors.labels[0].boxes, tensors.labels[0].labels
    found = torch.zeros(7, len(boxes))
    found[0], found[1] = boxes[:, [0, 2]].mean(dim=1), boxes[:, [1, 3]].mean(dim=1)
    found[2], found[3] = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    found[4 + labels, torch.arange(len(labels))] = 0.9

    manifest = raw_manifest(SPEC.size, dataset.names)
    accuracy = network_accuracy(Finder(found[None]), dataset, tensors, manifest, quiet=True)

    assert isinstance(accuracy, Accuracy)
    assert accuracy.ap == pytest.approx(1.0)
