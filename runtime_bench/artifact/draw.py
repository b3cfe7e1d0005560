"""Draw detections on a picture."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime_bench.artifact.detections import Detections

# Steps of this size around the circle of hues keep neighbouring classes far apart.
_GOLDEN_RATIO = 0.618033988749895


def draw_detections(
    picture: npt.NDArray[np.uint8], detections: Detections, names: Sequence[str]
) -> Image.Image:
    """Return a copy of a picture with a box, a name and a score for every detection.

    Args:
        picture: (H, W, 3) uint8, red, green, blue.
        detections: In pixels of the picture; the best are drawn last, on top.
        names: The names of the classes; a label without one is shown as a number.
    """
    image = Image.fromarray(picture)
    canvas = ImageDraw.Draw(image)
    longer_px = max(picture.shape[:2])
    line_px = max(1, round(longer_px / 320))
    font = ImageFont.load_default(size=max(10, round(longer_px / 45)))
    for row in np.argsort(detections.scores, kind="stable"):
        label = int(detections.labels[row])
        name = names[label] if 0 <= label < len(names) else str(label)
        left, top, right, bottom = (float(edge) for edge in detections.boxes[row])
        colour = class_colour(label)
        canvas.rectangle(
            (min(left, right), min(top, bottom), max(left, right), max(top, bottom)),
            outline=colour,
            width=line_px,
        )
        text = f"{name} {detections.scores[row]:.2f}"
        _write_label(canvas, (left, top), text, colour=colour, font=font)
    return image


def class_colour(label: int) -> tuple[int, int, int]:
    """Return the colour of a class: the same one in every picture."""
    red, green, blue = colorsys.hsv_to_rgb((label * _GOLDEN_RATIO) % 1.0, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def _write_label(
    canvas: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    *,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    left, _, right, bottom = canvas.textbbox(corner, text, font=font)
    height = bottom - corner[1]
    # Above the box where there is room, else inside it.
    shift = -height if corner[1] >= height else 0.0
    red, green, blue = colour
    is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    canvas.rectangle((left - 1, corner[1] + shift, right + 1, bottom + shift), fill=colour)
    canvas.text(
        (corner[0], corner[1] + shift), text, fill="black" if is_light else "white", font=font
    )
