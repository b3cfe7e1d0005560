"""Draw the built-in pictures: objects of eight classes among clutter, as a COCO data set.

Chance comes from (seed, index) alone, so a picture does not depend on how many are drawn.
Training, test and calibration pictures have seeds of their own and so never overlap.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from runtime_bench.files import atomic_folder, write_json
from xprune.builtin import shapes, textures

TRAIN_SEED, TEST_SEED, CALIBRATION_SEED = 1, 2, 3
CLASS_NAMES = tuple(shapes.CLASSES)

Picture = NDArray[np.uint8]
Boxes = NDArray[np.float32]
Labels = NDArray[np.int64]

_SIZES = ((192, 256), (256, 192), (240, 240), (160, 224), (224, 160), (180, 240), (144, 256))
_MAX_OBJECTS, _MAX_CLUTTER = 8, 5
_LARGEST = 0.55  # of the picture's mean side, like the two below
# Training also sees objects that are smaller than those of the quick start: the harder school.
TRAIN_SMALLEST, DEMO_SMALLEST = 0.09, 0.14
_LEAST_VISIBLE = 0.25
_LEAST_BOX_PX = 4


@dataclass(frozen=True)
class _Item:
    """One drawn thing; `label` is None for clutter."""

    label: int | None
    stamp: shapes.Stamp


def draw_scene(
    seed: int, index: int, *, smallest: float = TRAIN_SMALLEST
) -> tuple[Picture, Boxes, Labels]:
    """Return one picture and what is on it.

    Args:
        seed: Of the set of scenes.
        index: Of the scene in it.
        smallest: Side of the smallest thing, as a part of the picture's mean side.

    Returns:
        The picture, (H, W, 3), RGB; boxes (N, 4), left, top, right, bottom in pixels, around
        the whole shape as far as it lies in the picture, hidden parts included; labels (N,).
        N is at least 1.
    """
    encoded, boxes, labels = _draw_encoded(seed, index, smallest)
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")), boxes, labels


def write_scenes(
    folder: Path, *, count: int, seed: int, smallest: float = DEMO_SMALLEST
) -> Path:
    """Write pictures 0 to `count` - 1 of a seed into `folder` as a COCO data set.

    The pictures, `images/000000.jpg` and so on, decode to what `draw_scene` returns. An
    earlier `images` folder is replaced.

    Args:
        folder: Where the set goes.
        count: How many pictures.
        seed: Of the set.
        smallest: As for `draw_scene`.

    Returns:
        The path of `instances.json`; it is written last, so its presence means that all
        pictures are there.

    Raises:
        EdgeError: If the folder cannot be written.
    """
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    with atomic_folder(folder / "images") as partial:
        for index in range(count):
            encoded, boxes, labels = _draw_encoded(seed, index, smallest)
            name = f"{index:06d}.jpg"
            (partial / name).write_bytes(encoded)
            width, height = Image.open(io.BytesIO(encoded)).size
            images.append(
                {"id": index + 1, "file_name": name, "width": width, "height": height}
            )
            for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
                annotations.append(_annotation(len(annotations) + 1, index + 1, box, label))
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASS_NAMES)]
    path = folder / "instances.json"
    write_json(path, {"images": images, "annotations": annotations, "categories": categories})
    return path


def _annotation(number: int, image: int, box: list[float], label: int) -> dict[str, object]:
    left, top, right, bottom = box
    return {
        "id": number,
        "image_id": image,
        "category_id": label + 1,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
    }


def _draw_encoded(seed: int, index: int, smallest: float) -> tuple[bytes, Boxes, Labels]:
    rng = np.random.default_rng((seed, index))
    size = _SIZES[rng.integers(len(_SIZES))]
    canvas = textures.background(rng, size)
    items = _keep_visible(_place_items(rng, size, smallest), size)
    for item in items:
        _paint(rng, canvas, item.stamp)
    found = [(item.stamp.box, item.label) for item in items if item.label is not None]
    boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
    labels = np.array([label for _, label in found], np.int64)
    return _photograph(rng, canvas), boxes, labels


def _place_items(
    rng: np.random.Generator, size: tuple[int, int], smallest: float
) -> list[_Item]:
    """Return things to draw, the lowest first; the topmost is an object."""
    objects = int(rng.integers(1, _MAX_OBJECTS + 1))
    clutter = int(rng.integers(0, _MAX_CLUTTER + 1))
    below = rng.permutation([True] * (objects - 1) + [False] * clutter)
    return [_place_item(rng, size, smallest, is_object=bool(flag)) for flag in [*below, True]]


def _place_item(
    rng: np.random.Generator, size: tuple[int, int], smallest: float, *, is_object: bool
) -> _Item:
    makers = tuple((shapes.CLASSES if is_object else shapes.CLUTTER).values())
    kind = int(rng.integers(len(makers)))
    side = np.sqrt(size[0] * size[1]) * np.exp(rng.uniform(np.log(smallest), np.log(_LARGEST)))
    transform = _random_transform(rng) * (side / 2.0)
    margin = 0.25 * side
    x, y = (rng.uniform(margin, extent - margin) for extent in (size[1], size[0]))
    stamp = shapes.rasterize(makers[kind](rng), transform, (x, y))
    return _Item(kind if is_object else None, stamp)


def _random_transform(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a rotation of a shear of a squeeze, (2, 2)."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1.0, rng.uniform(-0.3, 0.3)], [0.0, 1.0]])
    return np.asarray(turn @ shear @ np.diag([rng.uniform(0.65, 1.0), 1.0]))


def _keep_visible(items: list[_Item], size: tuple[int, int]) -> list[_Item]:
    """Drop, from the top down, what is mostly hidden, outside or too thin; clip the rest."""
    covered = np.zeros(size, np.bool_)
    kept: list[_Item] = []
    for item in reversed(items):
        whole_px = max(int(item.stamp.inside.sum()), 1)
        stamp = item.stamp.clip(size)
        inside = stamp.inside
        hidden = covered[stamp.window]
        visible = int((inside & ~hidden).sum()) / whole_px
        if visible < _LEAST_VISIBLE or min(_extent(inside)) < _LEAST_BOX_PX:
            continue
        hidden |= inside
        kept.append(_Item(item.label, stamp))
    return kept[::-1]


def _extent(inside: NDArray[np.bool_]) -> tuple[int, int]:
    return int(inside.any(axis=1).sum()), int(inside.any(axis=0).sum())


def _paint(rng: np.random.Generator, canvas: textures.Floats, stamp: shapes.Stamp) -> None:
    """Blend one filled shape into the canvas, in place."""
    under = canvas[stamp.window]
    behind = under[stamp.inside].mean(axis=0)
    filled = textures.filling(rng, (under.shape[0], under.shape[1]), behind)
    opacity = np.float32(rng.uniform(0.75, 1.0)) * stamp.coverage[..., None]
    under += opacity * (filled - under)


def _photograph(rng: np.random.Generator, canvas: textures.Floats) -> bytes:
    """Return the canvas as a JPEG taken under uneven light by a cheap camera."""
    lit = textures.light(rng, canvas)
    picture = Image.fromarray(np.clip(lit, 0.0, 255.0).astype(np.uint8))
    if rng.random() < 0.6:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.4)))
    grain = rng.standard_normal(canvas.shape, np.float32) * np.float32(rng.uniform(0.0, 11.0))
    noisy = np.clip(np.asarray(picture, np.float32) + grain, 0.0, 255.0).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=int(rng.integers(50, 96)))
    return buffer.getvalue()
