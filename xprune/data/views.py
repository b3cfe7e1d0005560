"""Views of pictures to train on: mirrored, scaled and moved, with what is known to be on them.

Which view a step takes depends on the seed and the step alone, so a training that was stopped
goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.preprocess import place
from xprune.data.batches import normalised
from xprune.models.targets import Targets

# Around the size and place of the picture in the input, which is what the network is used on.
SMALLEST, LARGEST = 0.75, 1.33
FURTHEST = 0.1
LEAST_LEFT = 0.3  # of a box's area; less of it inside the view and it is no target
BRIGHTER, STRONGER = 0.1, 0.2


@dataclass(frozen=True)
class View:
    """Where a picture lies in the input, and how it is coloured.

    A point x of the picture is at `x * scale + offset` of the input, which is then mirrored.

    Attributes:
        picture: Its index.
        scale: (horizontal, vertical).
        offset: (left, top) in pixels of the input.
        mirrored: Left and right are exchanged.
        gain: Contrast is multiplied by it.
        bias: Brightness, of 1, that is added.
    """

    picture: int
    scale: tuple[float, float]
    offset: tuple[float, float]
    mirrored: bool = False
    gain: float = 1.0
    bias: float = 0.0


def plain_view(picture: int, picture_size: tuple[int, int], spec: InputSpec) -> View:
    """Return the view that shows a picture (height, width) as the network will see it."""
    placement = place(picture_size, spec)
    height, width = placement.inner_size
    scale = (width / picture_size[1], height / picture_size[0])
    return View(picture, scale, (placement.left_px, placement.top_px))


def varied_view(
    rng: np.random.Generator, picture: int, picture_size: tuple[int, int], spec: InputSpec
) -> View:
    """Return a view drawn by chance: scaled about the input's middle, moved, mirrored."""
    plain = plain_view(picture, picture_size, spec)
    zoom = float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
    middle = (spec.size[1] / 2, spec.size[0] / 2)
    moved = rng.uniform(-FURTHEST, FURTHEST, 2) * (spec.size[1], spec.size[0])
    offset = [
        (at - half) * zoom + half + float(shift)
        for at, half, shift in zip(plain.offset, middle, moved, strict=True)
    ]
    return View(
        picture,
        scale=(plain.scale[0] * zoom, plain.scale[1] * zoom),
        offset=(offset[0], offset[1]),
        mirrored=bool(rng.random() < 0.5),
        gain=float(1 + rng.uniform(-STRONGER, STRONGER)),
        bias=float(rng.uniform(-BRIGHTER, BRIGHTER)),
    )


def chosen_pictures(count: int, *, batch: int, seed: int, step: int) -> NDArray[np.int64]:
    """Return the pictures of a step: every one once, in a new order, before any comes again.

    Args:
        count: Pictures there are.
        batch: Pictures in a step.
        seed: Of the orders.
        step: From 0.
    """
    places = np.arange(step * batch, (step + 1) * batch)
    orders = {
        epoch: np.random.default_rng((seed, int(epoch))).permutation(count)
        for epoch in np.unique(places // count)
    }
    return np.array([orders[at // count][at % count] for at in places], dtype=np.int64)


def shown(pixels: torch.Tensor, view: View, spec: InputSpec) -> torch.Tensor:
    """Return a view of a picture as an input (3, H, W), float32; beside it what pads.

    Args:
        pixels: (3, h, w) uint8.
        view: Which.
        spec: The input.
    """
    height, width = spec.size
    (across, down), (left, top) = view.scale, view.offset
    picture_height, picture_width = pixels.shape[1:]
    # grid_sample asks where each output pixel comes from, in coordinates from -1 to 1.
    source = torch.zeros(1, 2, 3)
    mirror = -1 if view.mirrored else 1
    source[0, 0, 0] = mirror * width / (across * picture_width)
    source[0, 1, 1] = height / (down * picture_height)
    source[0, 0, 2] = (width - 2 * left) / (across * picture_width) - 1
    source[0, 1, 2] = (height - 2 * top) / (down * picture_height) - 1
    grid = functional.affine_grid(source, [1, 3, height, width], align_corners=False)
    grey = torch.tensor(spec.pad_colour, dtype=torch.float32)[:, None, None]
    centred = pixels[None].to(torch.float32) - grey
    sampled = functional.grid_sample(centred, grid, align_corners=False)[0]
    coloured = (sampled * view.gain + grey) / 255 + view.bias * (view.bias != 0)
    return normalised(coloured.clamp_(0, 1), spec)


def moved_targets(found: Targets, view: View, size: tuple[int, int]) -> Targets:
    """Return what is on a picture where it is in the view; what is cut off too far is left out.

    Args:
        found: Boxes in pixels of the picture.
        view: Which.
        size: Input (height, width).
    """
    scale = torch.tensor(view.scale * 2)
    offset = torch.tensor(view.offset * 2)
    boxes = found.boxes.reshape(-1, 4) * scale + offset
    if view.mirrored:
        boxes = torch.stack(
            (size[1] - boxes[:, 2], boxes[:, 1], size[1] - boxes[:, 0], boxes[:, 3]), 1
        )
    limits = torch.tensor((size[1], size[0]) * 2, dtype=boxes.dtype)
    clipped = torch.minimum(boxes.clamp_min(0), limits)
    kept = _area(clipped) >= LEAST_LEFT * _area(boxes).clamp_min(1e-9)
    return Targets(clipped[kept], found.labels[kept])


def _area(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def batch_views(
    pictures: Sequence[int],
    turns: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    spec: InputSpec,
    *,
    seed: int,
) -> list[View]:
    """Return varied views of pictures.

    Args:
        pictures: Their indices.
        turns: Which of its many views each of them takes.
        sizes: (height, width) of every picture there is.
        spec: The input.
        seed: Of the views.
    """
    return [
        varied_view(np.random.default_rng((seed, index, turn)), index, sizes[index], spec)
        for index, turn in zip(pictures, turns, strict=True)
    ]
