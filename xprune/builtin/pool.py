"""Training batches for the built-in detector: scenes drawn once, then varied at each use.

A batch depends on (seed, step) alone, so that an interrupted training goes on as if nothing
had happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xprune.builtin.scenes import Boxes, Labels, Picture, draw_scene

_GREY = 114
_LEAST_LEFT = 0.3  # of a box's area; less of it inside the picture and the box is no target


@dataclass(frozen=True)
class Pool:
    """Letterboxed scenes in memory.

    Attributes:
        pictures: (N, 3, S, S), uint8, RGB.
        boxes: N arrays (M, 4), left, top, right, bottom in pixels of the letterboxed picture.
        labels: N arrays (M,).
    """

    pictures: Tensor
    boxes: tuple[Boxes, ...]
    labels: tuple[Labels, ...]


def draw_pool(indices: Iterable[int], *, seed: int, size_px: int) -> Pool:
    """Draw the scenes of a seed, letterboxed to a square of `size_px`."""
    pictures: list[Tensor] = []
    boxes: list[Boxes] = []
    labels: list[Labels] = []
    for index in indices:
        picture, found, kinds = draw_scene(seed, index)
        fitted, scale, (left, top) = letterbox(picture, size_px)
        pictures.append(fitted)
        boxes.append(found * np.float32(scale) + np.array([left, top, left, top], np.float32))
        labels.append(kinds)
    return Pool(torch.stack(pictures), tuple(boxes), tuple(labels))


def letterbox(picture: Picture, size_px: int) -> tuple[Tensor, float, tuple[int, int]]:
    """Fit a picture (H, W, 3) into a grey square, centred, as Ultralytics does.

    Returns:
        The square, (3, S, S), uint8; the scale; the left and top margins in pixels.
    """
    height, width = picture.shape[:2]
    scale = min(size_px / height, size_px / width)
    new_height, new_width = round(height * scale), round(width * scale)
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    resized = functional.interpolate(
        pixels, (new_height, new_width), mode="bilinear", align_corners=False
    )
    top = round((size_px - new_height) / 2 - 0.1)
    left = round((size_px - new_width) / 2 - 0.1)
    square = torch.full((3, size_px, size_px), _GREY, dtype=torch.uint8)
    square[:, top : top + new_height, left : left + new_width] = resized[0].round().byte()
    return square, scale, (left, top)


def make_batch(
    pool: Pool, *, count: int, seed: int, step: int, vary_geometry: bool = True
) -> dict[str, Tensor]:
    """Return one training batch in the form that Ultralytics' loss reads.

    Args:
        pool: The scenes to choose from.
        count: Pictures in the batch.
        seed: Of the training.
        step: Of the training.
        vary_geometry: Whether pictures are scaled and moved; flips and colours always vary.

    Returns:
        "img" (B, 3, S, S) in [0, 1]; "batch_idx" (T,), rising; "cls" (T, 1); "bboxes" (T, 4),
        centre x, centre y, width, height as parts of the side.
    """
    rng = np.random.default_rng((seed, step))
    chosen = rng.integers(len(pool.boxes), size=count)
    images = pool.pictures[torch.from_numpy(chosen)].float() / 255.0
    boxes = [pool.boxes[i] / np.float32(images.shape[-1]) for i in chosen]
    labels = [pool.labels[i] for i in chosen]
    images, boxes = _flip(rng, images, boxes)
    if vary_geometry:
        images, boxes = _scale_and_move(rng, images, boxes)
    kept = [_clip(box) for box in boxes]
    return {
        "img": _recolour(rng, images),
        "batch_idx": torch.from_numpy(
            np.repeat(np.arange(count, dtype=np.float32), [int(k.sum()) for _, k in kept])
        ),
        "cls": torch.from_numpy(
            np.concatenate([label[k] for label, (_, k) in zip(labels, kept, strict=True)])
        ).float()[:, None],
        "bboxes": torch.from_numpy(np.concatenate([_to_centre(b[k]) for b, k in kept])),
    }


def _flip(
    rng: np.random.Generator, images: Tensor, boxes: list[Boxes]
) -> tuple[Tensor, list[Boxes]]:
    """Mirror each picture sideways, upside down and along its diagonal, each by chance."""
    flipped: list[Tensor] = []
    moved: list[Boxes] = []
    for image, box in zip(images, boxes, strict=True):
        sideways, down, diagonal = rng.random(3) < 0.5
        if sideways:
            image, box = image.flip(2), _mirror(box, 0)
        if down:
            image, box = image.flip(1), _mirror(box, 1)
        if diagonal:
            image, box = image.transpose(1, 2), box[:, [1, 0, 3, 2]]
        flipped.append(image)
        moved.append(box)
    return torch.stack(flipped), moved


def _mirror(boxes: Boxes, axis: int) -> Boxes:
    mirrored = boxes.copy()
    mirrored[:, axis] = 1 - boxes[:, axis + 2]
    mirrored[:, axis + 2] = 1 - boxes[:, axis]
    return mirrored


def _scale_and_move(
    rng: np.random.Generator, images: Tensor, boxes: list[Boxes]
) -> tuple[Tensor, list[Boxes]]:
    """Scale each picture about its centre and move it; grey comes in at the edges."""
    count = len(boxes)
    scale = np.exp(rng.uniform(np.log(0.7), np.log(1.4), count)).astype(np.float32)
    shift = rng.uniform(-0.12, 0.12, (count, 2)).astype(np.float32)
    # grid_sample asks where each output pixel comes from, in coordinates from -1 to 1.
    source = np.zeros((count, 2, 3), np.float32)
    source[:, 0, 0] = source[:, 1, 1] = 1 / scale
    source[:, :, 2] = -2 * shift / scale[:, None]
    grid = functional.affine_grid(
        torch.from_numpy(source), list(images.shape), align_corners=False
    )
    grey = _GREY / 255.0
    sampled = functional.grid_sample(images - grey, grid, align_corners=False) + grey
    moved = [
        (box - np.float32(0.5)) * s + np.float32(0.5) + np.tile(d, 2)
        for box, s, d in zip(boxes, scale, shift, strict=True)
    ]
    return sampled, moved


def _recolour(rng: np.random.Generator, images: Tensor) -> Tensor:
    """Change contrast, brightness and saturation of each picture a little."""
    factors = rng.uniform(-1.0, 1.0, (4, len(images))).astype(np.float32)
    gain, bias, saturation, tint = torch.from_numpy(factors)[..., None, None, None]
    grey = images.mean(dim=1, keepdim=True)
    coloured = grey + (1 + 0.5 * saturation) * (images - grey)
    # The tint turns red, green and blue into each other, as a change of hue does.
    coloured = coloured + 0.3 * tint * (coloured.roll(1, dims=1) - coloured)
    exposed: Tensor = (1 + 0.25 * gain) * coloured + 0.1 * bias
    return exposed.clamp(0.0, 1.0)


def _clip(boxes: Boxes) -> tuple[Boxes, NDArray[np.bool_]]:
    clipped = np.clip(boxes, 0.0, 1.0)
    left_over = _area(clipped) / np.maximum(_area(boxes), 1e-9)
    return clipped, left_over >= _LEAST_LEFT


def _area(boxes: Boxes) -> NDArray[np.float32]:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def _to_centre(boxes: Boxes) -> Boxes:
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)
