"""A few pictures inside the artifact, so that it can be timed on real input anywhere."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime_bench.files import write_bytes

# What a device reads in is larger, but only what the model sees counts here.
LONGER_SIDE_PX = 640
QUALITY = 90


def store_pictures(folder: Path, pictures: Sequence[NDArray[np.uint8]]) -> tuple[str, ...]:
    """Write pictures as small JPEG files, and return their names.

    They carry no EXIF data. They do not depend on the input size of the model, so that
    artifacts of one set of pictures store the same files.

    Args:
        folder: Of the artifact.
        pictures: (H, W, 3) uint8, red, green, blue.
    """
    names = []
    for index, picture in enumerate(pictures, 1):
        image = Image.fromarray(picture)
        image.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY)
        names.append(f"picture_{index}.jpg")
        write_bytes(folder / names[-1], buffer.getvalue())
    return tuple(names)
