"""Layers are found by tracing, with their parents, shapes and multiply-adds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.reference.toy_networks import LooksTwice, noise, tiny_yolo, toy
from xprune.layers.candidates import Candidate, count_macs, find_candidates, nearest_ancestor
from xprune.models.families import YOLO

CUSTOM = {
    "nc": 3,
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "C3", [16]],
        [-1, 1, "Conv", [16, 3, 2]],
    ],
    "head": [[[2, 3], 1, "Detect", ["nc"]]],
}


@pytest.fixture(scope="module")
def found() -> dict[str, Candidate]:
    """The toy's candidates by name, in order."""
    network = toy()
    return {c.name: c for c in find_candidates(network, lambda: network(noise(1)))}


def flops_by_module(network: nn.Module, images: Tensor) -> dict[str, int]:
    """PyTorch's own count of floating point operations, by the path of the module."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    prefix = f"{type(network).__name__}."
    return {
        name.removeprefix(prefix): sum(counts.values())
        for name, counts in counter.get_flop_counts().items()
    }


def test_layers_come_in_the_order_in_which_they_run(found):
    """Parents come before their children, and everything in the order of the forward pass."""
    assert list(found) == [
        "stem",
        "stem.conv",
        "stem.act",
        "stage",
        "stage.0",
        "stage.0.first",
        "stage.0.first.conv",
        "stage.0.first.act",
        "stage.0.second",
        "stage.0.second.conv",
        "stage.0.second.act",
        "stage.1",
        "stage.1.first",
        "stage.1.first.conv",
        "stage.1.first.act",
        "stage.1.second",
        "stage.1.second.conv",
        "stage.1.second.act",
        "down",
        "down.conv",
        "down.act",
        "fork.conv",
        "mix.conv",
        "tower",
        "tower.0",
        "tower.1",
        "tower.2",
        "out",
    ]


def test_nested_layers_know_their_parent(found):
    """The parent is the smallest candidate around; `fork` and `mix` are none, so no parents."""
    assert found["stage.0.first.conv"].parent == "stage.0.first"
    assert found["stage.0"].parent == "stage"
    assert found["stage"].parent is None
    assert found["fork.conv"].parent is None


def test_two_inputs_two_outputs_norms_and_pools_are_none(found):
    """A fork, a mix, batch norms and pools cannot be replaced."""
    network = toy()

    left_out = {name: module for name, module in network.named_modules() if name not in found}

    assert {name for name, module in left_out.items() if list(module.children())} == {
        "",
        "fork",
        "mix",
    }
    single = (nn.BatchNorm2d, nn.AvgPool2d)
    assert {name for name, module in network.named_modules() if isinstance(module, single)} == {
        name for name, module in left_out.items() if not list(module.children())
    }


def test_a_module_that_runs_three_times_is_one_candidate(found):
    """The tower has the shapes of its three calls, and the work of all of them."""
    assert found["tower"].input_shapes == ((8, 8, 10), (8, 4, 5), (8, 2, 2))
    assert found["tower"].output_shapes == found["tower"].input_shapes
    assert found["tower.0"].macs == 8 * 8 * 9 * (80 + 20 + 4)


def test_shapes_and_strides(found):
    """The stem halves both sides; the others keep them."""
    assert found["stem"].input_shapes == ((3, 32, 40),)
    assert found["stem"].output_shapes == ((6, 16, 20),)
    assert found["stem"].stride == (2, 2)
    assert not found["stem"].keeps_shape
    assert found["stage"].stride == (1, 1)
    assert found["stage"].keeps_shape
    assert not found["out"].keeps_shape


def test_plain_convolutions_are_marked(found):
    """The paper's rule counts these and no block around them."""
    network = toy()

    marked = {name for name, candidate in found.items() if candidate.convolution}

    assert marked == {n for n, m in network.named_modules() if type(m) is nn.Conv2d}


def looks_twice() -> nn.Module:
    """With rows for each region in its head."""
    return LooksTwice().eval().requires_grad_(False)


@pytest.mark.parametrize("build", [toy, tiny_yolo, looks_twice], ids=["toy", "yolo", "twice"])
def test_macs_are_half_of_what_pytorch_counts(build):
    """Each candidate's multiply-adds, and the network's, are PyTorch's FLOPs over two."""
    network = build()
    images = noise(1, (96, 96)).to(next(network.parameters()))

    candidates = find_candidates(network, lambda: network(images))
    total = count_macs(network, lambda: network(images))

    flops = flops_by_module(network, images)
    assert {c.name: 2 * c.macs for c in candidates} == {
        c.name: flops.get(c.name, 0) for c in candidates
    }
    assert 2 * total == flops["Global"]


def test_transposed_grouped_and_linear_layers_count():
    """PyTorch's own count again, for the layers that YOLO does not have."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, groups=1),
        nn.Conv2d(8, 8, (3, 1), groups=4, padding=1),
        nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2),
        nn.Flatten(),
        nn.LazyLinear(7),
    )
    images = torch.rand(1, 3, 9, 8)

    network(images)  # the lazy layer learns its size

    total = count_macs(network, lambda: network(images))
    assert 2 * total == flops_by_module(network, images)["Global"]


def test_parameters_are_all_inside(found):
    """Children's weights, norms and biases included."""
    network = toy()

    for name, candidate in found.items():
        inside = network.get_submodule(name).parameters()
        assert candidate.parameters == sum(weight.numel() for weight in inside)


class Odd(nn.Module):
    """Modules whose calls say that they are no layers, or layers of an odd size."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name = nn.Conv2d(3, 3, 1)
        self.prelu = nn.PReLU(1)
        self.norm = nn.LayerNorm([3, 9, 11])
        self.down = nn.Conv2d(3, 3, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(3, 3, 2, stride=2)
        self.cropping = nn.Conv2d(3, 3, 5)
        self.unused = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.prelu(self.by_name(input=x)))
        self.prelu(torch.cat([x, x], dim=1))  # other channels than before
        self.cropping(x)
        return self.up(self.down(x))


def test_only_what_a_substitute_can_stand_in_for_is_found():
    """A call by keyword, changing channels, a norm, growing or cropped maps, no call: none."""
    network = Odd().eval()

    names = [c.name for c in find_candidates(network, lambda: network(torch.rand(1, 3, 9, 11)))]

    assert names == ["down"]


def test_odd_sizes_round_up():
    """A stride of 2 on 9 x 11 gives 5 x 6; the last window is cut short."""
    network = Odd().eval()

    (down,) = find_candidates(network, lambda: network(torch.rand(1, 3, 9, 11)))

    assert down.output_shapes == ((3, 5, 6),)
    assert down.stride == (2, 2)


def test_tracing_leaves_no_hooks():
    """The network is as it was, hooks and gradients included."""
    network = toy()

    find_candidates(network, lambda: network(noise(1)))

    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "custom"])
def test_every_yolo_gives_its_blocks(name):
    """Other architectures need no code: each block of the YAML that maps a map is found."""
    network = YOLO.build_network(CUSTOM) if name == "custom" else tiny_yolo(name)
    images = torch.rand(1, 3, 64, 64)

    found = find_candidates(network, lambda: YOLO.head_outputs(network, images))

    blocks = {
        f"model.{index}"
        for index, block in enumerate(network.model)
        if type(block).__name__ not in ("Concat", "Upsample", "Detect")
    }
    outermost = {c.name for c in found if c.parent is None}
    assert blocks == {n for n in outermost if n.count(".") == 1}
    assert {c.name for c in found if c.convolution} == {
        n for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and ".dfl." not in n
    }


def test_nearest_ancestor_goes_by_whole_names():
    """The layer a.10 is not inside a.1."""
    assert nearest_ancestor("a.10.b", {"a.1", "a", "x"}) == "a"
    assert nearest_ancestor("a.1", {"a.1"}) is None
