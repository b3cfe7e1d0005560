"""Resize a picture to the last bit as OpenCV's INTER_LINEAR does, in numpy.

A network sees the difference between two bilinear rules: one step of the pixel values here and
there costs nothing, another rule for enlarging or reducing costs a hundredth of AP.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

# OpenCV's fixed point for 8-bit pictures: weights of 11 bits, 4 bits of the row sums cut off.
_WEIGHT_BITS = 11
_CUT_BITS = 4


@dataclass(frozen=True, eq=False)
class _Axis:
    """The two source places and their integer weights of every place along one side."""

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    first_weight: npt.NDArray[np.int32]
    second_weight: npt.NDArray[np.int32]


def resize_bilinear(
    picture: npt.NDArray[np.uint8], size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Return `picture` at another size, by bilinear interpolation without antialias.

    Args:
        picture: (H, W, C) uint8.
        size: (height, width) of the result.

    Returns:
        (height, width, C) uint8, equal to `cv2.resize` with `INTER_LINEAR`.
    """
    if picture.shape[:2] == size:
        return picture
    down = _vertical_axis(picture.shape[0], size[0])
    along = _horizontal_axis(picture.shape[1], size[1])

    # Reducing leaves out most rows of a large picture; only the others are worth the work.
    rows, places = np.unique(np.concatenate([down.first, down.second]), return_inverse=True)
    first_row, second_row = places[: size[0]], places[size[0] :]
    needed = picture[rows]
    sums = np.take(needed, along.first, axis=1).astype(np.int32)
    sums *= along.first_weight[:, None]
    others = np.take(needed, along.second, axis=1).astype(np.int32)
    others *= along.second_weight[:, None]
    sums += others
    sums >>= _CUT_BITS

    result = sums[first_row]
    result *= down.first_weight[:, None, None]
    result >>= 16
    others = sums[second_row]
    others *= down.second_weight[:, None, None]
    others >>= 16
    result += others
    # 2 * 11 bits of weights, less the 4 + 16 already cut off, leave 2; adding 2 first rounds.
    result += 2
    result >>= 2
    return result.astype(np.uint8)


@lru_cache(maxsize=64)
def _horizontal_axis(source: int, target: int) -> _Axis:
    places, shares = _places(source, target)
    # Beyond the edge the edge pixel counts alone: its weight is whole, the other's is zero.
    shares[(places < 0) | (places >= source - 1)] = 0
    return _weigh(places, shares, source)


@lru_cache(maxsize=64)
def _vertical_axis(source: int, target: int) -> _Axis:
    # Beyond the edge both rows are the edge row, and OpenCV keeps both weights: cutting bits
    # off twice may then give one less than the edge row itself.
    return _weigh(*_places(source, target), source)


def _places(source: int, target: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    step = 1.0 / (target / source)
    exact = ((np.arange(target) + 0.5) * step - 0.5).astype(np.float32)
    below = np.floor(exact)
    return below.astype(np.intp), exact - below


def _weigh(places: npt.NDArray[np.intp], shares: npt.NDArray[np.float32], source: int) -> _Axis:
    whole = np.float32(1 << _WEIGHT_BITS)
    return _Axis(
        first=np.clip(places, 0, source - 1),
        second=np.clip(places + 1, 0, source - 1),
        first_weight=np.rint((np.float32(1) - shares) * whole).astype(np.int32),
        second_weight=np.rint(shares * whole).astype(np.int32),
    )
