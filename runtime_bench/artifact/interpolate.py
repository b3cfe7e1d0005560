"""Resize a picture as PyTorch's bilinear `interpolate` resizes floats, in numpy.

Its values stay as they come out, between two whole numbers as a rule. `resize` has the rule of
OpenCV, which rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class _Axis:
    """The two source places of every place along one side, and the weight of the second."""

    first: npt.NDArray[np.intp]
    second: npt.NDArray[np.intp]
    share: npt.NDArray[np.float32]


def interpolate_bilinear(
    picture: npt.NDArray[np.uint8], size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Return `picture` at another size, by bilinear interpolation without antialias.

    Args:
        picture: (H, W, C) uint8.
        size: (height, width) of the result.

    Returns:
        (height, width, C) float32, 0 to 255: what `torch.nn.functional.interpolate` gives with
        `mode="bilinear", align_corners=False`, but for rounding.
    """
    if picture.shape[:2] == size:
        return picture.astype(np.float32)
    down, along = _axis(picture.shape[0], size[0]), _axis(picture.shape[1], size[1])
    # Reducing leaves out most rows of a large picture; only the others are worth the work.
    rows, places = np.unique(np.concatenate([down.first, down.second]), return_inverse=True)
    first_row, second_row = places[: size[0]], places[size[0] :]
    needed = picture[rows]
    wide = _between(
        np.take(needed, along.first, axis=1).astype(np.float32),
        np.take(needed, along.second, axis=1),
        along.share[:, None],
    )
    return _between(wide[first_row], wide[second_row], down.share[:, None, None])


def _between(
    first: npt.NDArray[np.float32],
    second: npt.NDArray[np.float32] | npt.NDArray[np.uint8],
    share: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return the mix of both; `first` is overwritten."""
    step = second - first
    step *= share
    first += step
    return first


@lru_cache(maxsize=64)
def _axis(source: int, target: int) -> _Axis:
    # PyTorch rounds to 32 bits here and here, which shows far to the right of a wide picture.
    step = float(np.float32(source) / np.float32(target))
    exact = ((np.arange(target) + 0.5) * step - 0.5).astype(np.float32).clip(0)
    first = np.minimum(exact.astype(np.intp), source - 1)
    share = np.clip(exact - first.astype(np.float32), 0, 1)
    return _Axis(first, np.minimum(first + 1, source - 1), share.astype(np.float32))
