"""Substitutes and convolutions are solved as NumPy's least squares solves them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xprune.layers import fit as fitting
from xprune.layers import moments as sums
from xprune.layers.fit import add_samples, fit, is_solvable, new_moments
from xprune.layers.moments import Moments, sampled_outputs
from xprune.layers.substitutes import Affine, Linear

# Below `POSITIONS_PER_PICTURE` positions: every one of them is a sample.
SIZE = (9, 11)


def pictures(channels: int, *, count: int = 4, size: tuple[int, int] = SIZE) -> Tensor:
    """Noise of different strength and mean in every channel, float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, channels, *size, generator=generator, dtype=torch.float64)
    scale = torch.linspace(0.5, 2, channels, dtype=torch.float64).reshape(1, -1, 1, 1)
    return x * scale + scale


def rows(maps: Tensor) -> NDArray[np.float64]:
    """All positions of (B, C, H, W) as (B * H * W, C)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1]).numpy()


def least_squares(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    penalty: float,
    start: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Ridge with a free bias as ordinary least squares: the penalty is a few more rows."""
    inputs = x.shape[1]
    start = np.zeros((inputs, y.shape[1])) if start is None else start
    pull = np.sqrt(penalty) * np.eye(inputs)
    system = np.block([[x, np.ones((len(x), 1))], [pull, np.zeros((inputs, 1))]])
    return np.linalg.lstsq(system, np.concatenate([y, np.sqrt(penalty) * start]), rcond=None)[0]


def missed(y: NDArray[np.float64], prediction: NDArray[np.float64]) -> float:
    """The share of the variance that a prediction misses."""
    return float(((y - prediction) ** 2).sum() / ((y - y.mean(axis=0)) ** 2).sum())


def solve(layer: nn.Module, x: Tensor, y: Tensor, **options: nn.BatchNorm2d) -> float:
    """Fit `layer` to map `x` to `y`; both (B, C, H, W)."""
    moments = new_moments(layer)
    add_samples(moments, layer, x, sampled_outputs(y))
    return fit(layer, moments, **options)


@pytest.fixture(autouse=True)
def repeatable_weights():
    """New layers have the same weights each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def noisy(y: Tensor) -> Tensor:
    """Something that no layer can fit exactly."""
    generator = torch.Generator().manual_seed(1)
    return y + torch.randn(y.shape, generator=generator, dtype=y.dtype)


def test_linear_is_ridge_regression():
    """Weights, bias and the variance missed are those of NumPy's least squares."""
    x = pictures(5)
    y = noisy(pictures(3).flip(3) + x[:, :3].tanh())
    layer = Linear(5, 3, (1, 1)).double()

    error = solve(layer, x, y)

    penalty = sums.RIDGE * (rows(x) ** 2).sum(axis=0).mean()
    expected = least_squares(rows(x), rows(y), penalty)
    np.testing.assert_allclose(
        layer.conv.weight[:, :, 0, 0].detach().T, expected[:-1], atol=1e-9
    )
    np.testing.assert_allclose(layer.conv.bias.detach(), expected[-1], atol=1e-9)
    prediction = rows(x) @ expected[:-1] + expected[-1]
    assert error == pytest.approx(missed(rows(y), prediction), rel=1e-9)


@pytest.mark.parametrize(
    ("size", "stride"), [((8, 6), (2, 2)), ((9, 11), (2, 2)), ((7, 5), (3, 1))]
)
def test_linear_sees_the_means_of_its_windows(size, stride):
    """With a stride, the regressors are average-pooled, odd sizes included; means by loops."""
    x = pictures(4, size=size)
    down = nn.AvgPool2d(stride, stride, ceil_mode=True)  # only for the shape of y
    y = noisy(down(x)[:, :2])
    layer = Linear(4, 2, stride).double()

    solve(layer, x, y)

    means = torch.stack(
        [
            torch.stack(
                [
                    x[:, :, r : r + stride[0], c : c + stride[1]].mean(dim=(2, 3))
                    for c in range(0, size[1], stride[1])
                ],
                dim=-1,
            )
            for r in range(0, size[0], stride[0])
        ],
        dim=-2,
    )
    penalty = sums.RIDGE * (rows(means) ** 2).sum(axis=0).mean()
    expected = least_squares(rows(means), rows(y), penalty)
    np.testing.assert_allclose(
        layer.conv.weight[:, :, 0, 0].detach().T, expected[:-1], atol=1e-9
    )


def test_an_exact_linear_map_is_recovered(monkeypatch):
    """Without a penalty the substitute is the map itself, and misses nothing."""
    monkeypatch.setattr(sums, "RIDGE", 1e-13)
    hidden = nn.Conv2d(5, 3, 1).double().requires_grad_(False)
    x = pictures(5)
    layer = Linear(5, 3, (1, 1)).double()

    error = solve(layer, x, hidden(x))

    assert torch.allclose(layer.conv.weight, hidden.weight, atol=1e-8)
    assert torch.allclose(layer.conv.bias, hidden.bias, atol=1e-8)
    assert error < 1e-12


def test_the_penalty_hardly_changes_an_exact_map():
    """As shipped, an exact map is recovered but for 0.01 % of its variance."""
    hidden = nn.Conv2d(5, 3, 1).double().requires_grad_(False)
    x = pictures(5)

    assert solve(Linear(5, 3, (1, 1)).double(), x, hidden(x)) < 1e-4


def test_affine_is_a_regression_for_each_channel():
    """Each channel's scale and shift are NumPy's, from that channel alone."""
    x = pictures(3)
    y = noisy(3 * x - 1)
    layer = Affine(3).double().requires_grad_(False)

    error = solve(layer, x, y)

    prediction = np.empty_like(rows(y))
    for channel in range(3):
        one_x, one_y = rows(x)[:, [channel]], rows(y)[:, [channel]]
        (scale,), (shift,) = least_squares(one_x, one_y, sums.RIDGE * (one_x**2).sum())
        assert float(layer.scale[0, channel, 0, 0]) == pytest.approx(scale, rel=1e-9)
        assert float(layer.shift[0, channel, 0, 0]) == pytest.approx(shift, rel=1e-9)
        prediction[:, channel] = (one_x * scale + shift)[:, 0]
    assert error == pytest.approx(missed(rows(y), prediction), rel=1e-9)


def test_a_dead_channel_is_no_problem():
    """A constant input explains nothing; the mean is left, and no number is infinite."""
    x = pictures(3)
    x[:, 1] = 0
    for layer in (Affine(3).double(), Linear(3, 3, (1, 1)).double()):
        y = noisy(pictures(3))

        solve(layer, x, y)

        assert all(torch.isfinite(weight).all() for weight in layer.parameters())
    affine = Affine(3).double().requires_grad_(False)
    solve(affine, x, y)
    assert float(affine.shift[0, 1, 0, 0]) == pytest.approx(float(y[:, 1].mean()))


CONVOLUTIONS: dict[str, Callable[[], nn.Conv2d]] = {
    "3x3": lambda: nn.Conv2d(3, 2, 3, padding=1),
    "1x1": lambda: nn.Conv2d(3, 2, 1),
    "stride": lambda: nn.Conv2d(3, 2, 3, stride=(2, 1), padding=(1, 0)),
    "dilated": lambda: nn.Conv2d(3, 2, (3, 2), dilation=2, padding=(2, 1)),
    "no bias": lambda: nn.Conv2d(3, 2, 3, padding=1, bias=False),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_finds_another_ones_weights(name, monkeypatch):
    """From the outputs of a convolution of the same kind, without a pull to its own weights."""
    monkeypatch.setattr(fitting, "CONVOLUTION_RIDGE", 1e-12)
    hidden, layer = (CONVOLUTIONS[name]().double().requires_grad_(False) for _ in range(2))
    x = pictures(3)

    error = solve(layer, x, hidden(x))

    # Sums of convolutions are taken in float32.
    assert torch.allclose(layer.weight, hidden.weight, atol=1e-4)
    if layer.bias is not None:
        assert torch.allclose(layer.bias, hidden.bias, atol=1e-4)
    assert error < 1e-6


def columns_by_loops(layer: nn.Conv2d, x: Tensor) -> NDArray[np.float64]:
    """What the weights of a padded 3x3 convolution multiply, (B * H * W, 9 C), by loops."""
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    patches = [
        padded[b, :, row : row + 3, column : column + 3].flatten().numpy()
        for b in range(len(x))
        for row in range(x.shape[2])
        for column in range(x.shape[3])
    ]
    return np.stack(patches)


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_is_pulled_to_its_own_weights(bias):
    """The ridge of NumPy whose penalty counts from the weights that training gave."""
    layer = nn.Conv2d(3, 2, 3, padding=1, bias=bias).double().requires_grad_(False)
    start = layer.weight.flatten(1).T.numpy().copy()
    x = pictures(3)
    y = noisy(layer(x).tanh())
    columns = columns_by_loops(layer, x)

    error = solve(layer, x, y)

    penalty = fitting.CONVOLUTION_RIDGE * (columns**2).sum(axis=0).mean()
    if bias:
        expected = least_squares(columns, rows(y), penalty, start)
        np.testing.assert_allclose(layer.bias, expected[-1], atol=1e-4)
    else:
        pull = np.sqrt(penalty) * np.eye(27)
        solved = np.linalg.lstsq(
            np.concatenate([columns, pull]),
            np.concatenate([rows(y), np.sqrt(penalty) * start]),
            rcond=None,
        )
        expected = np.concatenate([solved[0], np.zeros((1, 2))])
    np.testing.assert_allclose(layer.weight.flatten(1).T, expected[:-1], atol=1e-4)
    prediction = columns @ expected[:-1] + expected[-1]
    assert error == pytest.approx(missed(rows(y), prediction), rel=1e-3)


def test_a_norm_takes_the_shift_that_a_convolution_lacks():
    """Convolution and norm together do what the convolution with the solved bias would do."""
    with_bias = nn.Conv2d(3, 2, 3, padding=1).double().requires_grad_(False)
    without = nn.Conv2d(3, 2, 3, padding=1, bias=False).double().requires_grad_(False)
    without.weight.copy_(with_bias.weight)
    with_bias.bias.zero_()
    norm = nn.BatchNorm2d(2).double().eval().requires_grad_(False)
    norm.running_mean.copy_(torch.tensor([0.3, -0.7]))
    untouched = nn.BatchNorm2d(2).double().eval().requires_grad_(False)
    untouched.load_state_dict(norm.state_dict())
    x = pictures(3)
    y = noisy(with_bias(x) + 5)

    errors = solve(with_bias, x, y), solve(without, x, y, norm=norm)

    assert errors[0] == pytest.approx(errors[1], rel=1e-9)
    assert torch.allclose(untouched(with_bias(x)), norm(without(x)), atol=1e-9)


@pytest.mark.parametrize("build", [lambda: Affine(3), lambda: Linear(3, 3, (1, 1))])
def test_samples_do_not_depend_on_the_batches(build):
    """Picture by picture or all at once: the same positions of each, so the same sums."""
    x, y = pictures(3, count=5, size=(24, 20)), pictures(3, count=5, size=(24, 20)).tanh()
    layer = build().double().requires_grad_(False)
    gathered: list[Moments] = []

    for batch in (1, 2, 5):
        moments = new_moments(layer)
        for start in range(0, 5, batch):
            part = slice(start, start + batch)
            add_samples(moments, layer, x[part], sampled_outputs(y[part]))
        gathered.append(moments)

    assert gathered[0].count == 5 * sums.POSITIONS_PER_PICTURE
    for other in gathered[1:]:
        assert other.count == gathered[0].count
        for name in ("inputs", "cross", "outputs"):
            assert torch.allclose(getattr(gathered[0], name), getattr(other, name), rtol=1e-12)


def test_inputs_and_outputs_are_sampled_at_the_same_places(monkeypatch):
    """On a map with more positions than are sampled, an exact map is still found."""
    monkeypatch.setattr(fitting, "CONVOLUTION_RIDGE", 1e-9)
    x = pictures(3, size=(24, 20))
    hidden = nn.Conv2d(3, 2, 3, padding=1).double().requires_grad_(False)
    layer = nn.Conv2d(3, 2, 3, padding=1).double().requires_grad_(False)

    error = solve(layer, x, hidden(x))

    assert error < 1e-6
    assert sampled_outputs(x).shape == (4, sums.POSITIONS_PER_PICTURE, 3)
    assert len(torch.unique(sampled_outputs(x)[0, :, 0])) == sums.POSITIONS_PER_PICTURE


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Affine(2), True),
        (Linear(2, 3, (2, 2)), True),
        (nn.Conv2d(2, 2, 3), True),
        (nn.Conv2d(2, 2, 3, groups=2), False),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), False),
        (nn.Conv2d(2, 2, 3, padding="same"), False),
        (nn.ConvTranspose2d(2, 2, 2), False),
        (nn.Identity(), False),
    ],
)
def test_what_can_be_solved(layer, expected):
    """Substitutes with weights, and plain convolutions."""
    assert is_solvable(layer) is expected
