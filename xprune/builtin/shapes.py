"""The outlines that the built-in pictures are drawn from, and how one becomes a mask.

An outline lives in its own coordinates: x to the right, y down, within about [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float32]
Points = NDArray[np.float64]

_SUPERSAMPLING = 4
_CURVE_POINTS = 48


@dataclass(frozen=True)
class Outline:
    """A filled polygon, and a second one that is cut out of it.

    Attributes:
        solid: (K, 2) corners, x and y.
        hole: (M, 2) corners of what is cut out; it may stick out of `solid`.
    """

    solid: Points
    hole: Points | None = None


@dataclass(frozen=True)
class Stamp:
    """A mask that knows where in a picture it belongs; parts of it may lie outside.

    Attributes:
        coverage: (h, w), 0 for outside the shape to 1 for inside.
        top: The row of the picture where the mask begins; may be negative.
        left: The column of the picture where the mask begins; may be negative.
    """

    coverage: Floats
    top: int
    left: int

    def clip(self, size: tuple[int, int]) -> Stamp:
        """Return the part of the stamp that lies inside a picture of (height, width)."""
        height, width = self.coverage.shape
        top, left = max(self.top, 0), max(self.left, 0)
        bottom = max(min(self.top + height, size[0]), top)
        right = max(min(self.left + width, size[1]), left)
        rows = slice(top - self.top, bottom - self.top)
        columns = slice(left - self.left, right - self.left)
        return Stamp(self.coverage[rows, columns], top, left)

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the picture; right only for a clipped stamp."""
        height, width = self.coverage.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(h, w), true where at least half of the pixel belongs to the shape."""
        return self.coverage >= 0.5

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels around `inside`, which must not be empty."""
        rows = np.flatnonzero(self.inside.any(axis=1)) + self.top
        columns = np.flatnonzero(self.inside.any(axis=0)) + self.left
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def rasterize(outline: Outline, transform: Points, centre: tuple[float, float]) -> Stamp:
    """Draw an outline as a mask with smooth edges.

    Args:
        outline: What to draw.
        transform: (2, 2), from the outline's coordinates to pixels.
        centre: Where the outline's origin goes, x and y in pixels.
    """
    solid = outline.solid @ transform.T + np.asarray(centre)
    left, top = np.floor(solid.min(axis=0)).astype(int) - 1
    right, bottom = np.ceil(solid.max(axis=0)).astype(int) + 1

    width, height = int(right - left), int(bottom - top)
    canvas = Image.new("L", (width * _SUPERSAMPLING, height * _SUPERSAMPLING))
    pen = ImageDraw.Draw(canvas)
    pen.polygon(_corners(solid, left, top), fill=255)
    if outline.hole is not None:
        hole = outline.hole @ transform.T + np.asarray(centre)
        pen.polygon(_corners(hole, left, top), fill=0)
    coverage = np.asarray(canvas.reduce(_SUPERSAMPLING), np.float32) / 255.0
    return Stamp(coverage, int(top), int(left))


def _corners(points: Points, left: int, top: int) -> list[tuple[float, float]]:
    # Pillow's corners are pixel centres: half a (fine) pixel less than our edges.
    fine = (points - (left, top)) * _SUPERSAMPLING - 0.5
    return [(x, y) for x, y in fine.tolist()]


def _ellipse(radius: float = 1.0, centre: tuple[float, float] = (0.0, 0.0)) -> Points:
    angles = np.linspace(0.0, 2.0 * np.pi, _CURVE_POINTS, endpoint=False)
    x, y = radius * np.cos(angles) + centre[0], radius * np.sin(angles) + centre[1]
    return np.stack([x, y], axis=1)


def _ball(rng: np.random.Generator) -> Outline:
    return Outline(_ellipse())


def _box(rng: np.random.Generator) -> Outline:
    return Outline(np.array([[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]]))


def _ring(rng: np.random.Generator) -> Outline:
    return Outline(_ellipse(), _ellipse(rng.uniform(0.35, 0.75)))


def _star(rng: np.random.Generator) -> Outline:
    inner = rng.uniform(0.36, 0.58)
    angles = np.arange(10) * np.pi / 5.0
    radii = np.where(np.arange(10) % 2 == 0, 1.0, inner)
    return Outline(np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=1))


def _cross(rng: np.random.Generator) -> Outline:
    arm = rng.uniform(0.2, 0.42)
    quarter = np.array([[arm, -arm], [arm, -1.0], [-arm, -1.0]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    quarters = [quarter]
    for _ in range(3):
        quarters.append(quarters[-1] @ turn.T)
    return Outline(np.concatenate(quarters))


def _arrow(rng: np.random.Generator) -> Outline:
    shaft, head, neck = rng.uniform(0.14, 0.3), rng.uniform(0.55, 0.8), rng.uniform(-0.2, 0.25)
    return Outline(
        np.array(
            [
                [0.0, -1.0],
                [head, neck],
                [shaft, neck],
                [shaft, 1.0],
                [-shaft, 1.0],
                [-shaft, neck],
                [-head, neck],
            ]
        )
    )


def _moon(rng: np.random.Generator) -> Outline:
    radius = rng.uniform(0.75, 0.95)
    return Outline(_ellipse(), _ellipse(radius, (rng.uniform(0.4, 0.65), 0.0)))


def _heart(rng: np.random.Generator) -> Outline:
    t = np.linspace(0.0, 2.0 * np.pi, _CURVE_POINTS, endpoint=False)
    x = 16.0 * np.sin(t) ** 3
    y = 13.0 * np.cos(t) - 5.0 * np.cos(2 * t) - 2.0 * np.cos(3 * t) - np.cos(4 * t)
    return Outline(np.stack([x, -y], axis=1) / 17.0)


def _triangle(rng: np.random.Generator) -> Outline:
    return Outline(np.array([[rng.uniform(-0.5, 0.5), -0.9], [0.9, 0.7], [-0.9, 0.7]]))


def _bar(rng: np.random.Generator) -> Outline:
    thick = rng.uniform(0.06, 0.2)
    return Outline(np.array([[-1.3, -thick], [1.3, -thick], [1.3, thick], [-1.3, thick]]))


def _half_disc(rng: np.random.Generator) -> Outline:
    return Outline(_ellipse()[: _CURVE_POINTS // 2 + 1])


def _open_ring(rng: np.random.Generator) -> Outline:
    outer = _ellipse()[: _CURVE_POINTS * 2 // 3]
    return Outline(np.concatenate([outer, outer[::-1] * rng.uniform(0.5, 0.75)]))


def _corner(rng: np.random.Generator) -> Outline:
    arm = rng.uniform(-0.6, -0.2)
    return Outline(
        np.array([[-0.9, -0.9], [arm, -0.9], [arm, -arm], [0.9, -arm], [0.9, 0.9], [-0.9, 0.9]])
    )


def _blob(rng: np.random.Generator) -> Outline:
    return Outline(_ellipse()[:: _CURVE_POINTS // 12] * rng.uniform(0.45, 1.0, (12, 1)))


OutlineMaker = Callable[[np.random.Generator], Outline]

# The order gives the labels. Ball, ring and moon are alike when small or half hidden,
# and so are star, cross and arrow.
CLASSES: dict[str, OutlineMaker] = {
    "ball": _ball,
    "box": _box,
    "star": _star,
    "ring": _ring,
    "arrow": _arrow,
    "cross": _cross,
    "moon": _moon,
    "heart": _heart,
}

# Drawn like the objects but of no class: what stands out is not always an object.
CLUTTER: dict[str, OutlineMaker] = {
    "triangle": _triangle,
    "bar": _bar,
    "half_disc": _half_disc,
    "open_ring": _open_ring,
    "corner": _corner,
    "blob": _blob,
}
