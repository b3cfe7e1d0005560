"""Colours and textures of the built-in pictures: backgrounds, fillings, light.

A field is (height, width), float32, roughly 0 to 1. A picture here is (height, width, 3),
float32, RGB, roughly 0 to 255; it is clipped only at the end.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Size = tuple[int, int]
FieldMaker = Callable[[np.random.Generator, Size], Floats]


def random_colour(rng: np.random.Generator) -> Floats:
    """Return a colour, (3,), 0 to 255, anything between grey and vivid."""
    grey = rng.uniform(20.0, 235.0)
    vivid = rng.uniform(0.0, 255.0, 3)
    return np.asarray(grey + rng.uniform(0.0, 1.0) * (vivid - grey), np.float32)


def noise(rng: np.random.Generator, size: Size) -> Floats:
    """Smooth random values: a sum of octaves, each finer and fainter than the one before."""
    total = np.zeros(size, np.float32)
    weight, weights = 1.0, 0.0
    persistence = rng.uniform(0.4, 0.8)
    cell = rng.uniform(0.25, 0.6) * max(size)
    for _ in range(4):
        rows, columns = (max(2, round(side / cell) + 1) for side in size)
        coarse = Image.fromarray(rng.random((rows, columns), np.float32))
        resized = coarse.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        total += weight * np.asarray(resized)
        weights += weight
        weight *= persistence
        cell /= 2.6
    return np.asarray(total / np.float32(weights), np.float32)


def ramp(rng: np.random.Generator, size: Size) -> Floats:
    """From 0 to 1 along a straight line of any direction."""
    along = _along(rng.uniform(0.0, 2.0 * np.pi), size)
    return np.asarray((along - along.min()) / max(float(np.ptp(along)), 1.0), np.float32)


def stripes(rng: np.random.Generator, size: Size) -> Floats:
    """Parallel bands, soft or sharp."""
    wave = np.sin(_along(rng.uniform(0.0, np.pi), size) * np.float32(_frequency(rng, size)))
    sharpness = np.float32(rng.uniform(0.5, 3.0))
    return np.asarray(np.clip(0.5 + sharpness * wave, 0.0, 1.0), np.float32)


def checks(rng: np.random.Generator, size: Size) -> Floats:
    """A tilted chess board."""
    angle, frequency = rng.uniform(0.0, np.pi), np.float32(_frequency(rng, size))
    first = np.sin(_along(angle, size) * frequency)
    second = np.sin(_along(angle + np.pi / 2.0, size) * frequency)
    return np.asarray(np.clip(0.5 + 4.0 * first * second, 0.0, 1.0), np.float32)


def _along(angle: float, size: Size) -> Floats:
    rows = np.arange(size[0], dtype=np.float32)[:, None]
    columns = np.arange(size[1], dtype=np.float32)[None, :]
    along = np.float32(np.cos(angle)) * columns + np.float32(np.sin(angle)) * rows
    return np.asarray(along, np.float32)


def _frequency(rng: np.random.Generator, size: Size) -> float:
    return float(2.0 * np.pi / (max(size) * np.exp(rng.uniform(np.log(0.04), np.log(0.4)))))


FIELDS: dict[str, FieldMaker] = {
    "noise": noise,
    "ramp": ramp,
    "stripes": stripes,
    "checks": checks,
}


def random_field(rng: np.random.Generator, size: Size) -> Floats:
    """Return one of the fields, by chance."""
    return tuple(FIELDS.values())[rng.integers(len(FIELDS))](rng, size)


def background(rng: np.random.Generator, size: Size) -> Floats:
    """Return a picture without objects: two colours mixed by a field, and fine noise on top."""
    first, second = random_colour(rng), random_colour(rng)
    mix = random_field(rng, size)
    if rng.random() < 0.5:
        share = np.float32(rng.uniform(0.3, 0.8))
        mix = share * mix + (1 - share) * noise(rng, size)
    picture = first + mix[..., None] * (second - first)
    grain = np.float32(rng.uniform(10.0, 60.0)) * (noise(rng, size) - 0.5)
    return np.asarray(picture + grain[..., None], np.float32)


def filling(rng: np.random.Generator, size: Size, behind: Floats) -> Floats:
    """Return what an object is filled with, (height, width, 3).

    Args:
        rng: Where chance comes from.
        size: Height and width of the filling.
        behind: (3,), the mean colour of what the object will cover; some objects take a
            colour close to it.
    """
    if rng.random() < 0.3:
        colour = behind + np.float32(rng.choice([-1.0, 1.0]) * rng.uniform(16.0, 45.0))
        colour = colour + rng.uniform(-12.0, 12.0, 3).astype(np.float32)
    else:
        colour = random_colour(rng)
    filled = np.broadcast_to(colour, (*size, 3))
    if rng.random() < 0.6:
        other = colour + rng.uniform(-70.0, 70.0, 3).astype(np.float32)
        filled = filled + random_field(rng, size)[..., None] * (other - colour)
    if rng.random() < 0.5:
        filled = filled * (np.float32(rng.uniform(0.4, 0.9)) + 0.5 * ramp(rng, size)[..., None])
    return np.asarray(filled, np.float32)


def light(rng: np.random.Generator, picture: Floats) -> Floats:
    """Return the picture under uneven light and with a random exposure."""
    low, high = np.sort(rng.uniform(0.5, 1.25, 2)).astype(np.float32)
    shade = low + (high - low) * ramp(rng, (picture.shape[0], picture.shape[1]))
    return np.asarray(picture * shade[..., None], np.float32)
