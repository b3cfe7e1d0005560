"""What can stand in a layer's place: shapes, what fits where, the plain values of a plan."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional

from runtime_bench.errors import EdgeError
from tests.reference.toy_networks import noise, toy
from xprune.layers.candidates import Candidate, find_candidates
from xprune.layers.substitutes import (
    Affine,
    Linear,
    Replacement,
    Zero,
    applicable,
    build,
    replacement,
)


@pytest.fixture(scope="module")
def found() -> dict[str, Candidate]:
    """The toy's candidates by name."""
    network = toy()
    return {c.name: c for c in find_candidates(network, lambda: network(noise(1)))}


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("stage.0", ("identity", "affine", "linear", "depthwise", "convolution")),
        ("stem", ("linear",)),
        ("tower", ("identity", "affine", "linear", "depthwise", "convolution")),
        ("down.conv", ("linear", "depthwise")),
        ("out", ()),
    ],
)
def test_what_fits_where(found, layer, expected):
    """Only what keeps its shape can be bypassed; no 1x1 convolution replaces another."""
    assert applicable(found[layer]) == expected
    assert [applicable(found[layer], name) for name in expected] == [(n,) for n in expected]
    assert applicable(found[layer], "zero") == ("zero",)


def test_an_unknown_substitute_is_an_error(found):
    """The message lists those there are."""
    with pytest.raises(
        EdgeError,
        match=r"'cheap'; there are: zero, identity, affine, linear, .*, lowrank, thin, auto",
    ):
        applicable(found["stem"], "cheap")


@pytest.mark.parametrize("substitute", ["zero", "identity", "affine", "linear"])
def test_a_substitute_gives_the_shape_of_its_layer(found, substitute):
    """For every candidate that it fits, on every size that the layer is called with."""
    for candidate in found.values():
        if not applicable(candidate, substitute):
            continue
        module = build(replacement(candidate, substitute))
        shapes = zip(candidate.input_shapes, candidate.output_shapes, strict=True)
        for in_shape, out_shape in shapes:
            assert module(torch.rand(2, *in_shape)).shape == (2, *out_shape)
        assert not module.training
        assert not any(weight.requires_grad for weight in module.parameters())


def test_zero_is_zero_and_rounds_up():
    """5 x 7 by a stride of 2 and 3 is 3 x 3, all zero, in the type of the input."""
    result = Zero(4, (2, 3))(torch.rand(2, 9, 5, 7, dtype=torch.float64))

    assert torch.equal(result, torch.zeros(2, 4, 3, 3, dtype=torch.float64))


def test_affine_scales_and_shifts_each_channel():
    """Written out channel by channel."""
    layer = Affine(3)
    layer.scale.data.copy_(torch.tensor([2.0, 3.0, 4.0]).reshape(1, 3, 1, 1))
    layer.shift.data.copy_(torch.tensor([10.0, 20.0, 30.0]).reshape(1, 3, 1, 1))
    x = torch.rand(2, 3, 4, 5)

    result = layer(x)

    for channel in range(3):
        wanted = x[:, channel] * (2.0 + channel) + 10.0 * (channel + 1)
        assert torch.equal(result[:, channel], wanted)


@pytest.mark.parametrize("size", [(8, 6), (7, 9), (3, 1)])
def test_linear_averages_each_window_once(size):
    """A window that the border cuts short is the mean of what it has; checked by loops."""
    layer = Linear(2, 2, (2, 3))
    x = torch.rand(1, 2, *size)

    pooled = layer.pool(x)

    for row in range(pooled.shape[2]):
        for column in range(pooled.shape[3]):
            window = x[0, :, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
            assert torch.allclose(pooled[0, :, row, column], window.mean(dim=(1, 2)))
    assert pooled.shape[2:] == (-(-size[0] // 2), -(-size[1] // 3))
    assert torch.equal(layer(x), functional.conv2d(pooled, layer.conv.weight, layer.conv.bias))


def test_a_replacement_is_plain_json(found):
    """What a checkpoint's metadata keeps survives JSON."""
    entry = replacement(found["stem"], "linear").to_json()

    assert found["stem"].before_padding
    assert json.loads(json.dumps(entry)) == {
        "layer": "stem",
        "substitute": "linear",
        "in_channels": 3,
        "out_channels": 6,
        "stride": [2, 2],
        "kernel": [1, 1],
        "inner_channels": 0,
        "chains": [],
        "bias": False,
    }
    assert Replacement(
        **{**entry, "stride": (2, 2), "kernel": (1, 1), "chains": ()}
    ) == replacement(found["stem"], "linear")
