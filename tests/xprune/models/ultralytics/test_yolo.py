"""The YOLO family agrees with Ultralytics: outputs, loss of a picture, decoded boxes."""

from __future__ import annotations

import copy
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from runtime_bench.errors import EdgeError
from xprune.models.families import YOLO
from xprune.models.ultralytics import yolo
from xprune.models.ultralytics.upstream import part, tasks

TARGETS = (
    yolo.Targets(torch.tensor([[4.0, 8.0, 60.0, 50.0]]), torch.tensor([0])),
    yolo.Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    yolo.Targets(
        torch.tensor([[10.0, 3.0, 40.0, 60.0], [20.0, 20.0, 90.0, 63.0]]), torch.tensor([2, 1])
    ),
)


def pictures(count: int, *, seed: int = 0) -> Tensor:
    """Noise of 64 by 96 pixels."""
    return torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


def loss_by_ultralytics(network: nn.Module, image: Tensor, target: yolo.Targets) -> float:
    """Ultralytics' own loss of a batch of one, from its own batch format."""
    model: Any = copy.deepcopy(network)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    model.model[-1].training = True
    left, top, right, bottom = (target.boxes / torch.tensor([96, 64, 96, 64])).unbind(1)
    boxes = torch.stack(((left + right) / 2, (top + bottom) / 2, right - left, bottom - top), 1)
    labels = target.labels.float()
    batch = {
        "img": image,
        "batch_idx": torch.zeros_like(labels),
        "cls": labels,
        "bboxes": boxes,
    }
    total, _ = model.loss(batch)
    return float(total.sum())


def test_each_loss_is_that_of_the_picture_alone(network):
    """A picture's loss in a batch of three is Ultralytics' loss of a batch of one."""
    images = pictures(3)

    losses = YOLO.picture_losses(network, YOLO.head_outputs(network, images), TARGETS)

    alone = [loss_by_ultralytics(network, images[i : i + 1], TARGETS[i]) for i in range(3)]
    np.testing.assert_allclose(losses.numpy(), alone, rtol=1e-5)


def test_the_loss_of_a_batch_is_that_of_ultralytics(network):
    """All pictures at once, in its own batch format, by picture."""
    images = pictures(3)

    loss = YOLO.batch_loss(network, YOLO.head_outputs(network, images), TARGETS)

    model: Any = copy.deepcopy(network)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    model.model[-1].training = True
    sides = torch.tensor([96, 64, 96, 64])
    boxes = torch.cat([target.boxes for target in TARGETS]) / sides
    left, top, right, bottom = boxes.unbind(1)
    batch = {
        "img": images,
        "batch_idx": torch.tensor([0.0, 2.0, 2.0]),
        "cls": torch.cat([target.labels for target in TARGETS]).float(),
        "bboxes": torch.stack(
            ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top), 1
        ),
    }
    total, _ = model.loss(batch)
    np.testing.assert_allclose(float(loss), float(total.sum()) / 3, rtol=1e-5)


def test_gradients_do_not_cross_pictures(network):
    """The loss of one picture says nothing about the pixels of another."""
    images = pictures(3).requires_grad_()

    losses = YOLO.picture_losses(network, YOLO.head_outputs(network, images), TARGETS)
    (gradient,) = torch.autograd.grad(losses[2], images)

    assert gradient[2].abs().sum() > 0
    assert gradient[:2].abs().sum() == 0


def test_a_loss_in_double_precision(network):
    """A network in float64 is scored as well; its loss is near that of float32."""
    outputs = YOLO.head_outputs(copy.deepcopy(network).double(), pictures(3).double())

    losses = YOLO.picture_losses(network, outputs, TARGETS)

    single = YOLO.picture_losses(network, YOLO.head_outputs(network, pictures(3)), TARGETS)
    torch.testing.assert_close(losses.float(), single, rtol=1e-4, atol=1e-4)


def test_raw_outputs_leave_the_network_as_it_was(network):
    """Batch norms do not move, and every module stays in eval mode, even after an error."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    outputs = YOLO.head_outputs(network, pictures(2))
    with pytest.raises(RuntimeError):
        YOLO.head_outputs(network, pictures(2)[:, :1])

    assert outputs["boxes"].shape == (2, 64, 8 * 12 + 4 * 6)
    assert outputs["scores"].shape == (2, 3, 8 * 12 + 4 * 6)
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert not any(module.training for module in network.modules())


def slow_distance(
    outputs: dict[str, Any], wanted: dict[str, Any], picture: int, *, boxes: float = 1
) -> float:
    """How far one picture's outputs moved, by the definition, place by place."""
    moved, objects = 0.0, 0.0
    for place in range(wanted["scores"].shape[2]):
        p = torch.sigmoid(wanted["scores"][picture, :, place].double())
        q = torch.sigmoid(outputs["scores"][picture, :, place].double())
        classes = p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))
        sides = 0.0
        for side in range(4):
            bins = slice(16 * side, 16 * side + 16)
            a = torch.softmax(wanted["boxes"][picture, bins, place].double(), 0)
            b = torch.softmax(outputs["boxes"][picture, bins, place].double(), 0)
            sides += float((a * torch.log(a / b)).sum())
        moved += float(classes.sum()) + boxes * float(p.max()) * sides
        objects += float(p.max())
    return moved / (1 + objects)


def test_distances_are_divergences_from_what_is_wanted(network):
    """Picture by picture as the definition says, and 0 where nothing moved."""
    wanted = YOLO.head_outputs(network, pictures(3))
    noise = torch.Generator().manual_seed(0)
    outputs = {
        name: wanted[name] + torch.randn(wanted[name].shape, generator=noise)
        for name in ("boxes", "scores")
    }

    distances = YOLO.output_distances(outputs, wanted)

    slowly = [slow_distance(outputs, wanted, picture) for picture in range(3)]
    np.testing.assert_allclose(distances.numpy(), slowly, rtol=1e-3)
    assert distances.min() > 0
    assert YOLO.output_distances(wanted, wanted).abs().max() < 1e-6
    twice = [slow_distance(outputs, wanted, picture, boxes=2) for picture in range(3)]
    np.testing.assert_allclose(YOLO.output_divergences(outputs, wanted), twice, rtol=1e-3)


def test_decoded_equals_ultralytics(network):
    """The module for export gives Ultralytics' own eval output, at two sizes."""
    for images in (pictures(2), pictures(1)[:, :, :32, :]):
        theirs = copy.deepcopy(network)(images)[0]

        assert torch.equal(YOLO.decoded(network)(images), theirs)


@pytest.mark.filterwarnings("ignore")  # The exporter's own deprecations are not ours to fix.
def test_decoded_can_be_exported(network):
    """The exported file computes in onnxruntime what PyTorch does."""
    image = pictures(1)
    module = YOLO.decoded(network)
    buffer = io.BytesIO()

    program = torch.onnx.export(module, (image,), dynamo=True, opset_version=18, verbose=False)
    assert program is not None
    program.save(buffer)

    session = onnxruntime.InferenceSession(buffer.getvalue())
    (output,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    np.testing.assert_allclose(output, module(image).numpy(), rtol=1e-4, atol=1e-4)


def test_the_seed_decides_the_random_weights(architecture):
    """The same seed gives the same weights, and the caller's random numbers do not move."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    first, again, other = (YOLO.build_network(architecture, seed=s) for s in (0, 0, 1))

    weights = [net.get_parameter("model.0.conv.weight") for net in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.rand(3), expected)


def test_activations_are_not_shared_and_not_in_place(architecture):
    """Each layer owns its activation, so a hook on it sees that layer only."""
    architecture["activation"] = "torch.nn.ReLU(inplace=True)"

    network = YOLO.build_network(architecture)

    activations = [
        m.act for m in network.modules() if isinstance(getattr(m, "act", None), nn.ReLU)
    ]
    assert len({id(activation) for activation in activations}) == len(activations) > 10
    assert not any(activation.inplace for activation in activations)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_failed_build_leaves_nothing_behind(architecture):
    """The activation of an architecture that cannot be built does not reach the next one."""
    default = tasks().Conv.default_act
    architecture["activation"] = "nn.Tanh()"
    architecture["head"][1] = [[-1, 4], 1, "Concat", [1]]

    with pytest.raises(EdgeError, match="cannot be built"):
        YOLO.build_network(architecture)

    assert tasks().Conv.default_act is default
    assert part("nn.modules", "Conv").default_act is default


def test_a_huge_network_is_refused_before_it_takes_memory(architecture):
    """Widths within their limits that multiply to billions of weights are an error."""
    architecture["width_multiple"] = 4.0
    architecture["backbone"][1:6] = [[-1, 1, "Conv", [4096, 3, 2]]] * 5

    with pytest.raises(EdgeError, match="parameters; the limit is"):
        YOLO.build_network(architecture)
