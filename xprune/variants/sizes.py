"""Input sizes that are worth a look, from the shapes of the pictures alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtime_bench.data.dataset import Picture
from xprune.variants.variant import Size

SQUARE = (1, 1)
# A rectangle may be longer than the base where that suits the pictures.
LONGEST = 1.5
# Logarithms of scales that differ by no more than this are the same.
ROUNDING = 1e-9


def worthy_sizes(
    base: Size, stride: int, pictures: Sequence[Size], *, least: float, most: float
) -> list[Size]:
    """Return the sizes at which pictures keep most of their sharpness for the area they take.

    A picture is scaled to fit, so a portrait input wastes what a landscape picture could use.
    What is kept is the front: no other size is smaller and shows the pictures as large. The
    scale of a set of pictures is the geometric mean of theirs.

    Args:
        base: The (height, width) in pixels that shares are of.
        stride: Of which both sides are multiples.
        pictures: Their sizes (height, width).
        least: The least share of the base's area.
        most: The largest share.

    Returns:
        (height, width), the largest area first; `base` itself only if it is on the front.
    """
    area = base[0] * base[1]
    longest = int(max(base) * LONGEST) // stride * stride
    sides = range(stride, longest + 1, stride)
    sizes = [
        (height, width) for height in sides for width in sides if height * width <= most * area
    ]
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], -_log_scale(size, pictures)))
    front: list[Size] = []
    sharpest = -math.inf
    for size in by_area:
        scale = _log_scale(size, pictures)
        if scale > sharpest + ROUNDING:
            front.append(size)
            sharpest = scale
    return [size for size in front[::-1] if size[0] * size[1] >= least * area]


def wanted_shapes(base: Size, resize: str, pictures: Sequence[Picture]) -> list[Size]:
    """Return the shapes (height, width) that inputs should be like: as a rule the pictures'.

    Args:
        base: The unpruned model's (height, width) in pixels.
        resize: How a picture becomes an input; see `InputSpec`.
        pictures: Of the kind that the model is to see.
    """
    if resize == "crop":  # a square shows most for its area, whatever the picture's shape
        return [SQUARE]
    if resize == "stretch":  # the network knows objects as stretched as the base makes them
        return [base]
    return [picture.size for picture in pictures]


def _log_scale(size: Size, pictures: Sequence[Size]) -> float:
    """Return the mean logarithm of the scale at which pictures fit into an input."""
    scales = (min(size[0] / height, size[1] / width) for height, width in pictures)
    return sum(map(math.log, scales)) / len(pictures)
