"""Pictures to train on, as they are on disk: in memory up to a limit, read again beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from runtime_bench.artifact.preprocess import read_picture
from runtime_bench.artifact.resize import resize_bilinear
from runtime_bench.data.dataset import Picture
from runtime_bench.data.pictures import FaultLog
from runtime_bench.errors import EdgeError
from runtime_bench.progress import track

MEMORY_BYTES = 2_000_000_000


@dataclass(frozen=True)
class PicturePool:
    """Pictures that were all decoded once, so that none fails in the middle of a training.

    Attributes:
        pictures: Where they lie; size is that of the pixels here, boxes are moved with it.
        longest_px: Larger pictures are made smaller, so that their longer side is this.
        skipped: One "file: reason" for each that was left out.
        kept: The pixels (3, H, W) uint8 of those that found room in memory, by index.
    """

    pictures: tuple[Picture, ...]
    longest_px: int
    skipped: tuple[str, ...] = ()
    kept: dict[int, torch.Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pictures)

    def pixels(self, index: int) -> torch.Tensor:
        """Return a picture as (3, H, W) uint8, red, green, blue.

        Raises:
            EdgeError: If it is not in memory and cannot be read any more.
        """
        if index in self.kept:
            return self.kept[index]
        picture = self.pictures[index]
        found = _fitted(read_picture(picture.path), self.longest_px)
        if found.shape[:2] != picture.size:
            raise EdgeError(f"{picture.path} was changed while it was in use; begin again")
        return _tensor(found)


def read_pool(
    pictures: Sequence[Picture],
    *,
    longest_px: int,
    skip_bad: bool = False,
    memory_bytes: int = MEMORY_BYTES,
) -> PicturePool:
    """Decode pictures, and keep as many in memory as fit.

    Args:
        pictures: Which; their size is checked only by what is found.
        longest_px: See `PicturePool`.
        skip_bad: Leave out what cannot be read, listed, instead of raising.
        memory_bytes: For their pixels.

    Raises:
        EdgeError: For the first picture that cannot be read, unless `skip_bad`.
    """
    faults = FaultLog(skip_bad)
    good: list[Picture] = []
    kept: dict[int, torch.Tensor] = {}
    room = memory_bytes
    for picture in track(pictures, label="Reading pictures to recover on"):
        try:
            whole = read_picture(picture.path)
        except EdgeError as error:
            faults.report(picture.path, str(error).removeprefix(f"'{picture.path}' "))
            continue
        pixels = _fitted(whole, longest_px)
        if pixels.nbytes <= room:
            room -= pixels.nbytes
            kept[len(good)] = _tensor(pixels)
        good.append(_moved(picture, whole.shape[:2], pixels.shape[:2]))
    return PicturePool(tuple(good), longest_px, tuple(faults.skipped), kept)


def _fitted(pixels: NDArray[np.uint8], longest_px: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return pixels
    return resize_bilinear(
        pixels, (max(round(height * scale), 1), max(round(width * scale), 1))
    )


def _tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _moved(picture: Picture, before: tuple[int, ...], after: tuple[int, ...]) -> Picture:
    """Return a picture whose size is what its pixels are now, its boxes with it."""
    factors = np.array([after[1] / before[1], after[0] / before[0]] * 2, np.float32)
    return replace(picture, size=(after[0], after[1]), boxes=picture.boxes * factors)
