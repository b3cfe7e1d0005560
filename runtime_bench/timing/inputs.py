"""What timed runs see: the first pictures, or a made-up one where there are none."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime_bench.artifact.manifest import InputSpec
from runtime_bench.artifact.preprocess import letterbox, read_picture

MOST_PICTURES = 50
# A device may have 512 MiB in all; a 640 px input takes 5 MB.
MOST_IMAGE_BYTES = 64 << 20

Images = list[npt.NDArray[np.float32]]


def timed_inputs(pictures: Sequence[Path], spec: InputSpec) -> Images:
    """Return the first pictures as inputs, each (1, 3, height, width), to be timed in turn.

    At most 50, and no more than 64 MiB of them, since a small device must hold them. Without
    any it is one in [0, 1] that is grey, with noise in its right half.

    Raises:
        EdgeError: If a picture cannot be read.
    """
    height, width = spec.size
    fitting = max(1, MOST_IMAGE_BYTES // (3 * 4 * height * width))
    chosen = pictures[: min(MOST_PICTURES, fitting)]
    if not chosen:
        return [_made_up_image(spec)]
    return [letterbox(read_picture(path), spec)[0][None] for path in chosen]


def on_each(
    run: Callable[[npt.NDArray[np.float32]], object], images: Images
) -> Callable[[], object]:
    """Return a call that runs on the next image, and after the last on the first again."""
    in_turn = itertools.cycle(images)
    return lambda: run(next(in_turn))


def _made_up_image(spec: InputSpec) -> npt.NDArray[np.float32]:
    height, width = spec.size
    image = np.full((1, 3, height, width), 114 / 255, dtype=np.float32)
    noise = np.random.default_rng(0).random((3, height, width - width // 2))
    image[0, :, :, width // 2 :] = noise
    return image
