"""Substitutes that see a window: each is the best of its kind, or better than its start."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from xprune.layers.fit import add_samples, fit, new_moments
from xprune.layers.moments import Moments, Window, sampled_outputs, sampled_positions
from xprune.layers.substitutes import Depthwise, LowRank, OneConvolution, depthwise
from xprune.layers.substitutes.windows import WINDOW_RIDGE

SIZE = (9, 11)


@pytest.fixture(autouse=True)
def repeatable_weights():
    """New layers have the same weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def pictures(channels: int, size: tuple[int, int] = SIZE) -> Tensor:
    """Six pictures of noise, of different strength and mean in every channel, float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, channels, *size, generator=generator, dtype=torch.float64)
    scale = torch.linspace(0.5, 2, channels, dtype=torch.float64).reshape(1, -1, 1, 1)
    return x * scale + scale


def bent(x: Tensor, outputs: int, stride: tuple[int, int] = (1, 1)) -> Tensor:
    """Something of the input's neighbourhoods that no linear map can be."""
    layer = nn.Conv2d(x.shape[1], outputs, 3, stride, padding=1).double().requires_grad_(False)
    return functional.silu(layer(x))


def gathered(layer: nn.Module, x: Tensor, y: Tensor) -> Moments:
    """The moments of one set of pictures."""
    moments = new_moments(layer)
    add_samples(moments, layer, x, sampled_outputs(y))
    return moments


def rows(maps: Tensor) -> NDArray[np.float64]:
    """All positions of (B, C, H, W) as (B * H * W, C)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1]).numpy()


def ridge(x: Tensor, y: Tensor, stride: tuple[int, int]) -> tuple[NDArray, NDArray, NDArray]:
    """PyTorch's columns of a padded 3x3 window, with the penalty as rows, and their solution.

    Returns:
        The centred columns and the centred targets, rows of the penalty below them, and the
        weights (I, O) of NumPy's least squares.
    """
    columns = functional.unfold(x, 3, padding=1, stride=stride).transpose(1, 2).flatten(0, 1)
    inputs, outputs = columns.numpy(), rows(y)
    squares, variances = (inputs**2).sum(axis=0), inputs.var(axis=0) * len(inputs)
    penalty = np.sqrt(WINDOW_RIDGE * variances.mean() + 1e-9 * squares.mean())
    a = np.concatenate([inputs - inputs.mean(axis=0), penalty * np.eye(inputs.shape[1])])
    zeros = np.zeros((inputs.shape[1], outputs.shape[1]))
    b = np.concatenate([outputs - outputs.mean(axis=0), zeros])
    return a, b, np.linalg.lstsq(a, b, rcond=None)[0]


def missed(y: Tensor, prediction: Tensor) -> float:
    """The share of the variance that a prediction misses."""
    spread = (y - y.mean(dim=(0, 2, 3), keepdim=True)).pow(2).sum()
    return float((y - prediction).pow(2).sum() / spread)


STRIDES = [(1, 1), (2, 2), (2, 1)]


def substitutes(stride: tuple[int, int]) -> list[nn.Module]:
    """One of each kind, from 4 channels to 6."""
    options = {"kernel": (3, 3), "stride": stride}
    return [
        layer.double().requires_grad_(False)
        for layer in (
            OneConvolution(4, 6, **options),
            LowRank(4, 6, inner_channels=3, **options),
            Depthwise(4, 6, **options),
        )
    ]


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_what_is_said_to_be_missed_is_what_the_module_misses(kind, stride):
    """The module itself, run on the pictures, misses what `fit` says; borders included."""
    x = pictures(4)
    y = bent(x, 6, stride)
    layer = substitutes(stride)[kind]

    error = fit(layer, gathered(layer, x, y))

    assert layer(x).shape == y.shape
    assert error == pytest.approx(missed(y, layer(x)), rel=1e-4)
    assert 0 < error < 1


@pytest.mark.parametrize("stride", STRIDES)
def test_one_convolution_is_ridge_regression(stride):
    """Weights and bias are those of NumPy's least squares."""
    x = pictures(4)
    y = bent(x, 6, stride)
    layer = substitutes(stride)[0]

    fit(layer, gathered(layer, x, y))

    expected = ridge(x, y, stride)[2]
    np.testing.assert_allclose(layer.conv.weight.flatten(1).T, expected, atol=1e-5)
    assert torch.allclose(layer(x).mean(dim=(0, 2, 3)), y.mean(dim=(0, 2, 3)), atol=1e-5)


def brute_force_rank(a: NDArray, b: NDArray, rank: int) -> float:
    """The least squared error of any map of this rank, from NumPy's SVD of the fitted values.

    The error is that of the full solution plus the singular values that are left out.
    """
    full = np.linalg.lstsq(a, b, rcond=None)[0]
    singular = np.linalg.svd(a @ full, compute_uv=False)
    return float(((b - a @ full) ** 2).sum() + (singular[rank:] ** 2).sum())


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_lowrank_is_the_best_of_its_rank(rank):
    """The penalised error is the least there is, by Eckart and Young."""
    x = pictures(4)
    y = bent(x, 6)
    layer = LowRank(4, 6, inner_channels=rank, kernel=(3, 3), stride=(1, 1)).double()
    layer.requires_grad_(False)

    fit(layer, gathered(layer, x, y))

    a, b, _ = ridge(x, y, (1, 1))
    product = layer.expand.weight[:, :, 0, 0] @ layer.reduce.weight.flatten(1)
    assert np.linalg.matrix_rank(product.numpy(), tol=1e-6) == rank
    error = ((b - a @ product.T.numpy()) ** 2).sum()
    assert error == pytest.approx(brute_force_rank(a, b, rank), rel=1e-6)


def penalised(layer: Depthwise, a: NDArray, b: NDArray) -> float:
    """The error that the alternating steps lower."""
    product = layer.point.weight[:, :, 0, 0, None] * layer.depth.weight.flatten(1)[:, None]
    return float(((b - a @ product.flatten(1).T.numpy()) ** 2).sum())


def test_more_steps_are_never_worse(monkeypatch):
    """From the singular vectors of the full solution on, the error falls or stays."""
    x = pictures(4)
    y = bent(x, 6)
    a, b, full = ridge(x, y, (1, 1))
    left, size, right = np.linalg.svd(full.T.reshape(6, 4, 9))
    start = np.einsum("oi,o,ok->oik", left[:, :, 0], size[:, 0], right[:, 0])
    errors = [float(((b - a @ start.reshape(6, 36).T) ** 2).sum())]
    for steps in (0, 1, 2, 6, 20):
        monkeypatch.setattr(depthwise, "STEPS", steps)
        layer = substitutes((1, 1))[2]
        fit(layer, gathered(layer, x, y))
        errors.append(penalised(layer, a, b))

    assert errors[1] == pytest.approx(errors[0], rel=1e-5)
    assert all(later <= sooner * (1 + 1e-5) for sooner, later in itertools.pairwise(errors))
    assert errors[-1] < 0.999 * errors[0]


def test_a_depthwise_separable_map_is_found():
    """What can be told exactly is told, but for the penalty."""
    hidden, layer = substitutes((2, 2))[2], substitutes((2, 2))[2]
    hidden.point.weight.normal_()
    x = pictures(4)

    error = fit(layer, gathered(layer, x, hidden(x)))

    assert error < 1e-3


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_dead_channels_are_no_problem(kind):
    """Constant inputs and outputs give finite weights, and the mean."""
    x = pictures(4)
    y = bent(x, 6)
    x[:, 1], y[:, 2] = 0, 7
    layer = substitutes((1, 1))[kind]

    fit(layer, gathered(layer, x, y))

    assert all(torch.isfinite(weight).all() for weight in layer.parameters())
    assert torch.allclose(layer(x)[:, 2], torch.full_like(y[:, 2], 7), atol=1e-3)


@pytest.mark.parametrize(
    "window",
    [
        Window((3, 3), (1, 1), (1, 1)),
        Window((3, 5), (2, 1), (1, 2)),
        Window((2, 3), (2, 3), (0, 1), (2, 1)),
        Window((1, 1), (2, 2), (0, 0)),
    ],
)
@pytest.mark.parametrize("size", [(9, 11), (24, 20)])
def test_columns_are_pytorchs(window, size):
    """The sampled positions of `unfold`, in the order of a convolution's weights."""
    x = pictures(3, size)
    weight = torch.zeros(1, 3, *window.kernel, dtype=torch.float64)
    shape = functional.conv2d(x, weight, None, window.stride, window.padding, window.dilation)
    unfolded = functional.unfold(
        x, window.kernel, window.dilation, window.padding, window.stride
    )

    positions = sampled_positions(*shape.shape[2:])
    expected = unfolded.transpose(1, 2)[:, positions]
    assert torch.equal(window.samples(x), expected)
