"""Every substitute ships as what it is: the graph computes what PyTorch does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from exporters.graph import build_graph
from tests.reference.toy_networks import tiny_yolo
from xprune.layers.candidates import find_candidates
from xprune.layers.substitutes import SUBSTITUTES, applicable, replacement
from xprune.layers.surgery import apply_plan
from xprune.models.families import YOLO
from xprune.recovery.refit import refit, solvable_layers

SIZE = (64, 96)
LAYERS = (
    "model.1.conv",
    "model.2",
    "model.5.conv",
    "model.6",
    "model.6.m.0",
    "model.12.cv1.conv",
    "model.15.m.0.cv2.conv",
    "model.16.act",
    "model.22.cv2.1",
    "model.22.cv3.0.1.conv",
)


# What no layer of the tiny network is wide enough for.
TOO_WIDE = ("lowrank-50", "thin-62", "thin-87")


@pytest.fixture(scope="module")
def found():
    """A tiny YOLO, some pictures, and its candidates by name."""
    network = tiny_yolo()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 3, *SIZE, generator=generator)
    candidates = find_candidates(network, lambda: YOLO.head_outputs(network, images[:1]))
    return network, images, {candidate.name: candidate for candidate in candidates}


def run(network: nn.Module, images: torch.Tensor) -> object:
    """Run a network as `refit` wants it."""
    return YOLO.head_outputs(network, images)


def exported(network: nn.Module) -> onnx.ModelProto:
    """The graph that ships."""
    return build_graph(YOLO.decoded(network), size=SIZE, probes={}).model


def operators(model: onnx.ModelProto) -> Counter[str]:
    """How many nodes of each kind."""
    return Counter(node.op_type for node in model.graph.node)


def solved(case, names: list[str], substitute: str) -> nn.Module:
    """The network with layers replaced and solved."""
    network, images, candidates = case
    plan = [replacement(candidates[name], substitute) for name in names]
    cut = apply_plan(network, plan)
    refit(network, cut, images, run=run, layers=solvable_layers(cut, names, convolutions=False))
    return cut


def assert_same(model: onnx.ModelProto, cut: nn.Module, images: torch.Tensor) -> None:
    """Onnxruntime gives what PyTorch gives, on every picture."""
    session = ort.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    with torch.no_grad():
        expected = YOLO.decoded(cut)(images).numpy()
    for image, wanted in zip(images, expected, strict=True):
        (result,) = session.run(None, {"images": image[None].numpy()})
        np.testing.assert_allclose(result[0], wanted, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("substitute", [name for name in SUBSTITUTES if name != "zero"])
def test_the_graph_of_a_substitute_is_pytorchs(found, substitute):
    """For layers of all kinds, as many at once as do not contain each other."""
    _, images, candidates = found
    fitting = [name for name in LAYERS if applicable(candidates[name], substitute)]
    names = [n for n in fitting if not any(o != n and n.startswith(f"{o}.") for o in fitting)]
    assert names or substitute in TOO_WIDE
    if not names:
        pytest.skip("this network is too narrow for it")

    cut = solved(found, names, substitute)

    assert_same(exported(cut), cut, images)


def test_a_clip_leaves_nothing_but_itself(found):
    """Its scale and shift go into the convolution before, which the runtime fuses with it."""
    network, _, _ = found
    cut = solved(found, ["model.16.act", "model.1.act"], "clip")

    before, after = operators(exported(network)), operators(exported(cut))

    assert after["Clip"] == before["Clip"] + 2
    assert after["Max"] == before["Max"]
    assert after["Sigmoid"] == before["Sigmoid"] - 2
    assert after["Mul"] == before["Mul"] - 2
    assert after["Add"] == before["Add"]
    assert after["Conv"] == before["Conv"]


@pytest.mark.parametrize(
    ("layer", "gone"), [("model.6.m.0", 1), ("model.6.m.1", 2), ("model.4", 5), ("model.2", 4)]
)
def test_a_linear_block_costs_no_convolution(found, layer, gone):
    """Merged through the concatenation and into the padded convolution behind it.

    One convolution stays where the shortcut around the next bottleneck (`model.6.m.0`) or a far
    concatenation (`model.4`) reads it as well.
    """
    network, images, _ = found
    cut = solved(found, [layer], "linear")

    model = exported(cut)

    assert operators(exported(network))["Conv"] - operators(model)["Conv"] == gone
    assert_same(model, cut, images)
