"""Pictures with boxes, as text that stands inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.draw import draw_detections
from xprune.explain import wording

# Labels on a smaller picture cannot be read, and a larger one only makes the file heavy.
_LEAST_SIDE_PX = 480
_MOST_SIDE_PX = 720
_MOST_LISTED = 12


@dataclass(frozen=True, eq=False)
class Example:
    """One test picture and what both models found in it.

    Attributes:
        name: The picture's name.
        picture: (H, W, 3) uint8, RGB.
        before: What the unpruned model found, in pixels of the picture.
        after: What the pruned model found, in pixels of the picture.
        truth: The labels, where there are some.
    """

    name: str
    picture: npt.NDArray[np.uint8]
    before: Detections
    after: Detections
    truth: Detections | None = None


@dataclass(frozen=True)
class Panel:
    """One drawn picture: its caption, its data URI, and what it shows in words."""

    label: str
    kind: str
    uri: str
    size: tuple[int, int]
    found: str
    count: int


@dataclass(frozen=True)
class Pair:
    """One picture before and after, and what its labels say."""

    name: str
    panels: tuple[Panel, ...]
    truth: str | None


def draw_pair(example: Example, names: Sequence[str], *, min_score: float) -> Pair:
    """Draw the detections of both models that reach `min_score`."""
    truth = None
    if example.truth is not None:
        truth = _counts(example.truth, names)
    return Pair(
        name=example.name,
        panels=(
            _panel("before", example.picture, example.before.above(min_score), names),
            _panel("after", example.picture, example.after.above(min_score), names),
        ),
        truth=truth,
    )


def _panel(
    kind: str, picture: npt.NDArray[np.uint8], found: Detections, names: Sequence[str]
) -> Panel:
    image = Image.fromarray(picture)
    longest = max(image.size)
    factor = min(max(longest, _LEAST_SIDE_PX), _MOST_SIDE_PX) / longest
    if factor != 1:
        width, height = (max(1, round(side * factor)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        # Scaled before drawing, so that lines and letters have one size on all pictures.
        found = replace(found, boxes=found.boxes * np.float32(factor))
    drawn = draw_detections(np.asarray(image), found, names)
    return Panel(
        label=kind.capitalize(),
        kind=kind,
        uri=_jpeg_uri(drawn),
        size=(drawn.height, drawn.width),
        found=_listing(found, names),
        count=len(found),
    )


def _jpeg_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    # No chroma subsampling: it would smear the thin coloured lines. Not `optimize`: Pillow then
    # has room for a byte a pixel, which hundreds of boxes exceed, and fails.
    image.convert("RGB").save(buffer, "JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _listing(found: Detections, names: Sequence[str]) -> str:
    order = np.argsort(-found.scores, kind="stable")
    words = [
        f"{_name(names, found.labels[row])} {found.scores[row]:.2f}"
        for row in order[:_MOST_LISTED]
    ]
    if len(found) > _MOST_LISTED:
        words.append(f"and {len(found) - _MOST_LISTED} more")
    return ", ".join(words) or "nothing found"


def _counts(truth: Detections, names: Sequence[str]) -> str:
    labels, counts = np.unique(truth.labels, return_counts=True)
    words = (
        f"{count} {_name(names, label)}" for label, count in zip(labels, counts, strict=True)
    )
    return ", ".join(words) or wording.MISSING


def _name(names: Sequence[str], label: np.int64) -> str:
    index = int(label)
    return names[index] if 0 <= index < len(names) else f"class {index}"
