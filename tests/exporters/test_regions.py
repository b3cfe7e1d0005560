"""Regions are proposed and pooled as torchvision does, by PyTorch and by the ONNX operators."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign

from exporters.heads.class_nms import append_class_nms
from exporters.heads.regions import best_regions, pool_regions
from exporters.onnx_export import export_raw
from runtime_bench.artifact.decode import decode_class_boxes
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings

SIZE = (96, 128)
LEVELS = ((12, 16), (6, 8), (3, 4))
SCALES = [1 / 8, 1 / 16, 1 / 32]
CHANNELS = 5


def drawn(seed: int, *shape: int) -> Tensor:
    """Noise."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def some_boxes(count: int, seed: int = 0, pictures: int = 1) -> Tensor:
    """Boxes (B, A, 4), many of which overlap."""
    generator = torch.Generator().manual_seed(seed)
    least = torch.rand(pictures, count, 2, generator=generator) * torch.tensor([100.0, 70])
    sides = torch.rand(pictures, count, 2, generator=generator) * 28
    return torch.cat((least, least + sides), 2)


def ran(module: nn.Module, images: Tensor) -> np.ndarray:
    """What a module answers as an ONNX file."""
    graph = export_raw(module, size=(images.shape[2], images.shape[3]))
    session = open_session(graph.SerializeToString(), SessionSettings())
    return np.asarray(session.run(images.numpy())["output0"])


class Proposing(nn.Module):
    """Boxes and scores that an input moves a little, and the best of them."""

    def __init__(
        self, boxes: Tensor, scores: Tensor, counts: list[int], **limits: float
    ) -> None:
        super().__init__()
        self.register_buffer("boxes", boxes)
        self.register_buffer("scores", scores)
        self.counts, self.limits = counts, limits

    def forward(self, images: Tensor) -> Tensor:
        moved = images.mean()
        limits = self.limits
        return best_regions(
            self.boxes + moved,
            self.scores + moved,
            self.counts,
            int(limits.get("of_level", 100)),
            int(limits.get("most", 20)),
            limits.get("iou", 0.5),
            limits.get("score", -1e30),
            limits.get("side", 1e-3),
        )


def torchvisions(module: Proposing) -> Tensor:
    """What torchvision's own filter leaves, of scores that are logits to it."""
    limits = module.limits
    counts = dict.fromkeys(("training", "testing"), int(limits.get("of_level", 100)))
    most = dict.fromkeys(("training", "testing"), int(limits.get("most", 20)))
    anchors = AnchorGenerator()
    rpn = RegionProposalNetwork(
        anchors, RPNHead(1, 1), 0.7, 0.3, 256, 0.5, counts, most, limits.get("iou", 0.5), 0.0
    ).eval()
    rpn.min_size = limits.get("side", 1e-3)
    if "score" in limits:
        rpn.score_thresh = float(torch.tensor(limits["score"]).sigmoid())
    (found,), _ = rpn.filter_proposals(
        module.boxes, module.scores, [(1000, 1000)], module.counts
    )
    return found


SCORES = drawn(3, 1, 60)
BETWEEN_THE_BEST_TWO = float(SCORES.topk(2).values.mean())
CASES = {
    "a full house": {"most": 20},
    "fewer than there is room for": {"most": 60, "iou": 0.05},
    "few of a level": {"of_level": 7},
    "one alone": {"most": 10, "score": BETWEEN_THE_BEST_TWO},
    "none": {"most": 10, "score": 99.0},
    "no small ones": {"most": 60, "side": 14.0},
}


@pytest.mark.parametrize("case", CASES)
def test_the_best_are_those_of_torchvision(case: str):
    """In PyTorch and in onnxruntime; zeros fill up what is missing."""
    module = Proposing(some_boxes(60), SCORES, [40, 15, 5], **CASES[case]).eval()
    image = torch.zeros(1, 3, *SIZE)
    wanted = torchvisions(module)

    ours, file = module(image)[0], torch.from_numpy(ran(module, image))[0]

    most = CASES[case].get("most", 20)
    expected = {"none": 0, "one alone": 1, "a full house": most}
    assert len(wanted) == expected.get(case, len(wanted)) <= most
    for found in (ours, file):
        assert found.shape == (most, 4)
        torch.testing.assert_close(found[: len(wanted)], wanted)
        assert not found[len(wanted) :].any()


def test_each_picture_has_regions_of_its_own():
    """Two at once are as one after the other."""
    boxes, scores = some_boxes(40, pictures=2), drawn(4, 2, 40)
    limits = ([30, 10], 20, 12, 0.5, -1e30, 1e-3)

    both = best_regions(boxes, scores, *limits)

    for index in range(2):
        part = slice(index, index + 1)
        assert torch.equal(both[part], best_regions(boxes[part], scores[part], *limits))


class Pooling(nn.Module):
    """What some regions show on levels that are made of the input."""

    def __init__(self, regions: Tensor, scales: list[float]) -> None:
        super().__init__()
        self.register_buffer("regions", regions)
        self.scales = scales

    def levels(self, images: Tensor) -> list[Tensor]:
        return [
            torch.nn.functional.avg_pool2d(images, round(1 / scale)) * (2 + index)
            for index, scale in enumerate(self.scales)
        ]

    def forward(self, images: Tensor) -> Tensor:
        pooled = pool_regions(self.levels(images), self.regions, self.scales, 7, 2)
        return pooled.flatten(1)[None]


@pytest.mark.parametrize("scales", [SCALES, [1 / 8], [1 / 32, 1 / 32], [1 / 4, 1 / 8, 1 / 16]])
def test_regions_show_what_torchvision_shows(scales: list[float]):
    """On the level that suits their size, in PyTorch and in onnxruntime; of nothing, too."""
    small = some_boxes(30, seed=1)
    large = torch.tensor([[[0.0, 0, 1000, 900], [-50, 0, 400, 300], [3, 2, 227, 226]]])
    regions = torch.cat((small, large, torch.zeros(1, 2, 4)), 1)
    module = Pooling(regions, scales).eval()
    image = drawn(8, 1, 3, *SIZE)
    levels = {str(index): level for index, level in enumerate(module.levels(image))}
    pool = MultiScaleRoIAlign(list(levels), 7, 2)
    wanted = pool(levels, [regions[0]], [SIZE]).flatten(1)

    assert torch.equal(module(image)[0], wanted)
    torch.testing.assert_close(
        torch.from_numpy(ran(module, image))[0], wanted, rtol=1e-5, atol=1e-5
    )


def raw_of(scores: Tensor, deltas: Tensor, regions: Tensor, heads: RoIHeads) -> np.ndarray:
    """The raw output (4 + 5 nc, R) that stands for what a box head said."""
    classes = scores.shape[1] - 1
    boxes = heads.box_coder.decode_single(deltas, regions).view(len(regions), -1, 4)[:, 1:]
    boxes[..., 0::2].clamp_(0, SIZE[1])
    boxes[..., 1::2].clamp_(0, SIZE[0])
    # torchvision leaves out what is cut to nothing at the edge.
    large = (boxes[..., 2:] - boxes[..., :2] >= 0.01).all(2)
    shares = scores.softmax(1)[:, 1:] * large
    parts = (regions, boxes.reshape(len(regions), 4 * classes), shares)
    return torch.cat(parts, 1).T.numpy()


@pytest.mark.parametrize(("least", "most"), [(0.3, 100), (0.01, 100), (0.01, 7), (0.999, 100)])
def test_suppression_by_class_is_that_of_torchvision(least: float, most: int):
    """Zero, some, and a full house; by the numpy decoder and by the graph's operators."""
    regions, classes = some_boxes(50, seed=5)[0] + 1, 4
    scores, deltas = 2 * drawn(6, 50, 1 + classes), 0.3 * drawn(7, 50, 4 * (1 + classes))
    heads = RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, None, least, 0.5, most)
    raw = raw_of(scores, deltas, regions, heads)
    (boxes,), (found,), (labels,) = heads.postprocess_detections(
        scores, deltas, [regions], [SIZE]
    )
    wanted = np.column_stack([found, labels - 1, boxes])

    decoded = decode_class_boxes(raw, min_score=least, iou=0.5, max_boxes=most)
    graph = append_class_nms(
        one_output(raw), names_count=classes, min_score=least, iou=0.5, max_boxes=most
    )
    session = open_session(graph.SerializeToString(), SessionSettings())
    answer = session.run(raw[None])

    assert len(wanted) == {0.999: 0, 0.3: len(wanted)}.get(least, min(most, len(wanted)))
    for scores_, labels_, boxes_ in (
        (decoded.scores, decoded.labels, decoded.boxes),
        (answer["scores"], answer["labels"], answer["boxes"]),
    ):
        ours = np.column_stack([scores_, labels_, boxes_])
        assert ours.shape == wanted.shape
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-4)


def one_output(raw: np.ndarray) -> onnx.ModelProto:
    """A graph that answers with its input."""
    shape = [1, *raw.shape]
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name in ("images", "output0")
    ]
    node = onnx.helper.make_node("Identity", ["images"], ["output0"], name="same/Identity")
    graph = onnx.helper.make_graph([node], "same", values[:1], values[1:])
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
    )


def test_one_class_a_region_can_be_asked_for():
    """Then each region is answered with its best class at most."""
    raw = np.zeros((4 + 5 * 2, 3), np.float32)
    raw[4:8, :] = np.array([0, 0, 10, 10])[:, None] + np.array([0, 30, 60])
    raw[8:12, :] = raw[4:8, :]
    raw[12:] = [[0.9, 0.2, 0.4], [0.8, 0.7, 0.1]]

    several = decode_class_boxes(raw, min_score=0.15, iou=0.5, max_boxes=9)
    single = decode_class_boxes(raw, min_score=0.15, iou=0.5, max_boxes=9, multi_label=False)

    assert several.labels.tolist() == [0, 1, 1, 0, 0]
    assert single.scores.tolist() == pytest.approx([0.9, 0.7, 0.4])
