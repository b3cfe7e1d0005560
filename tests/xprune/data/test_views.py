"""A view shows what the letterbox shows, moved; targets move with what they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.preprocess import letterbox, prepare
from xprune.data.views import (
    View,
    batch_views,
    chosen_pictures,
    moved_targets,
    plain_view,
    shown,
    varied_view,
)
from xprune.models.targets import Targets

SPEC = InputSpec(size=(64, 96))


def smooth_picture(size: tuple[int, int] = (50, 40)) -> np.ndarray:
    """A picture (H, W, 3) uint8 whose every place has another colour."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    channels = (rows * 4 % 256, columns * 5 % 256, (rows * 2 + columns * 3) % 256)
    return np.stack(channels, axis=2).astype(np.uint8)


def pixels_of(picture: np.ndarray) -> torch.Tensor:
    """The same as a view takes it."""
    return torch.from_numpy(picture.transpose(2, 0, 1).copy())


@pytest.mark.parametrize("size", [(50, 40), (30, 90), (200, 100), (64, 96)])
def test_a_plain_view_is_the_letterbox(size):
    """But for rounding, and for the half pixel at the edge, where grey is mixed in."""
    picture = smooth_picture(size)
    expected, placement = letterbox(picture, SPEC)

    view = plain_view(0, size, SPEC)
    found = shown(pixels_of(picture), view, SPEC).numpy()

    inside = np.zeros(SPEC.size, bool)
    height, width = placement.inner_size
    margin = 1 + round(max(height / size[0], width / size[1]))
    inside[
        placement.top_px + margin : placement.top_px + height - margin,
        placement.left_px + margin : placement.left_px + width - margin,
    ] = True
    np.testing.assert_allclose(found[:, inside], expected[:, inside], atol=1.01 / 255)
    outside = np.ones(SPEC.size, bool)
    outside[
        max(placement.top_px - 1, 0) : placement.top_px + height + 1,
        max(placement.left_px - 1, 0) : placement.left_px + width + 1,
    ] = False
    np.testing.assert_allclose(found[:, outside], 114 / 255, atol=1e-6)


@pytest.mark.parametrize("resize", ["fit", "stretch"])
@pytest.mark.parametrize("size", [(50, 40), (30, 90), (128, 64)])
def test_a_plain_view_is_what_the_model_sees(resize, size):
    """Away from the edges; beside the picture is the mean, which is 0."""
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    spec = InputSpec(
        size=SPEC.size, resize=resize, mean=mean, std=std, pad_value=None, centred=False
    )
    picture = smooth_picture(size)
    expected, placement = prepare(picture, spec)

    found = shown(pixels_of(picture), plain_view(0, size, spec), spec).numpy()

    height, width = placement.inner_size
    margin = 1 + round(max(height / size[0], width / size[1]))
    inside = np.s_[:, margin : height - margin, margin : width - margin]
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-3)
    np.testing.assert_allclose(found[:, height + 1 :], 0, atol=1e-6)
    np.testing.assert_allclose(found[:, :, width + 1 :], 0, atol=1e-6)


def test_a_varied_view_is_where_its_numbers_say():
    """Every pixel by hand: bilinear between the picture's pixel centres, grey beside it."""
    picture = smooth_picture()
    view = View(0, (1.3, 0.8), (7.5, 4.25), mirrored=True, gain=1.2, bias=-0.05)

    found = shown(pixels_of(picture), view, SPEC).numpy()

    for row, column in [(10, 40), (20, 70), (43, 85), (0, 0), (60, 3), (30, 60)]:
        across = (SPEC.size[1] - (column + 0.5) - 7.5) / 1.3 - 0.5
        down = (row + 0.5 - 4.25) / 0.8 - 0.5
        colour = bilinear(picture.astype(float), down, across)
        expected = np.clip((1.2 * (colour - 114) + 114) / 255 - 0.05, 0, 1)
        np.testing.assert_allclose(found[:, row, column], expected, atol=1e-4)


def bilinear(picture: np.ndarray, row: float, column: float) -> np.ndarray:
    """The colour between four pixels; pixels beyond the edge are grey."""
    total = np.zeros(3)
    top, left = int(np.floor(row)), int(np.floor(column))
    for y in (top, top + 1):
        for x in (left, left + 1):
            share = (1 - abs(row - y)) * (1 - abs(column - x))
            there = 0 <= y < picture.shape[0] and 0 <= x < picture.shape[1]
            total += share * (picture[y, x] if there else 114)
    return total


@pytest.mark.parametrize("mirrored", [False, True])
def test_targets_move_with_their_pixels(mirrored):
    """A white box on black is found where the moved target says, to a pixel."""
    picture = np.zeros((50, 40, 3), np.uint8)
    picture[12:30, 8:25] = 255
    view = View(0, (1.7, 1.4), (9.0, -6.0), mirrored=mirrored)
    found = Targets(torch.tensor([[8.0, 12.0, 25.0, 30.0]]), torch.tensor([3]))

    moved = moved_targets(found, view, SPEC.size)

    rows, columns = np.nonzero(shown(pixels_of(picture), view, SPEC)[0].numpy() > 0.72)
    white = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(moved.boxes[0], white, atol=1)
    assert moved.labels.tolist() == [3]


def test_what_is_cut_off_is_no_target():
    """A box is clipped; with less than a third of it inside it goes."""
    boxes = torch.tensor(
        [[0.0, 0, 40, 20], [80, 0, 120, 20], [90, 0, 190, 20], [200, 0, 210, 9]]
    )
    found = Targets(boxes, torch.arange(4))

    moved = moved_targets(found, View(0, (1.0, 1.0), (0.0, 0.0)), SPEC.size)

    assert moved.labels.tolist() == [0, 1]
    assert moved.boxes.tolist() == [[0, 0, 40, 20], [80, 0, 96, 20]]


def test_a_picture_without_targets_stays_so():
    """Nothing to move is nothing moved."""
    empty = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))

    assert moved_targets(empty, View(0, (1.0, 1.0), (0.0, 0.0)), (8, 8)).boxes.shape == (0, 4)


def test_every_picture_comes_once_before_any_comes_again():
    """Also where a step begins in one order and ends in the next."""
    places = np.concatenate(
        [chosen_pictures(10, batch=4, seed=1, step=step) for step in range(5)]
    )

    assert sorted(places[:10]) == sorted(places[10:]) == list(range(10))
    assert list(places[:10]) != list(places[10:])


def test_fewer_pictures_than_a_batch_come_again():
    """A step of 8 of 3 pictures shows each at least twice."""
    counts = np.bincount(chosen_pictures(3, batch=8, seed=0, step=0), minlength=3)

    assert counts.sum() == 8
    assert counts.min() >= 2


def test_views_depend_on_seed_picture_and_turn_alone():
    """The same twice and in any company; others at another turn or seed."""
    sizes = [(50, 40)] * 4
    first, again, later, other = (
        batch_views([0, 1, 2, 3], [turn] * 4, sizes, SPEC, seed=seed)
        for seed, turn in ((0, 7), (0, 7), (0, 8), (1, 7))
    )

    assert first == again
    assert batch_views([2], [7], sizes, SPEC, seed=0) == first[2:3]
    assert first != later
    assert first != other


def test_varied_views_stay_near_the_plain_one():
    """Zoom and shift have limits, both sides are scaled alike, and half are mirrored."""
    plain = plain_view(0, (50, 40), SPEC)
    rng = np.random.default_rng(0)

    views = [varied_view(rng, 0, (50, 40), SPEC) for _ in range(400)]

    zooms = np.array([view.scale[0] / plain.scale[0] for view in views])
    assert 0.75 <= zooms.min() < 0.77 < 1.31 < zooms.max() <= 1.33
    for view, zoom in zip(views, zooms, strict=True):
        assert view.scale[1] / plain.scale[1] == pytest.approx(zoom)
        middle = (view.offset[0] + 20 * view.scale[0], view.offset[1] + 25 * view.scale[1])
        assert abs(middle[0] - 48) <= 0.1 * 96 + 1
        assert abs(middle[1] - 32) <= 0.1 * 64 + 1
    assert 150 < sum(view.mirrored for view in views) < 250
