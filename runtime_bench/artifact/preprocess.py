"""A picture becomes the input of a model, and boxes find their way back."""

from __future__ import annotations

import contextlib
import math
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from runtime_bench.artifact.boxes import clip
from runtime_bench.artifact.interpolate import interpolate_bilinear
from runtime_bench.artifact.resize import resize_bilinear
from runtime_bench.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runtime_bench.artifact.input_spec import InputSpec

# By hand, since `Image.open` also opens PostScript by running another program, and Ultralytics
# puts a version in its place that installs a package when a file is no picture.
_READERS: dict[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}
FORMATS = tuple(_READERS)

# What Pillow raises for damaged files; it has no error of its own for them.
_NOT_THIS_FORMAT = (SyntaxError, IndexError, TypeError, struct.error)
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error)

MAX_PIXELS = 178_956_970  # Pillow's own limit: half a gigabyte of pixels


@dataclass(frozen=True)
class Placement:
    """Where a picture lies inside the input of a model, or beyond its edges.

    Attributes:
        picture_size: (height, width) of the picture.
        inner_size: (height, width) of the picture inside the input, in whole pixels: so the two
            sides are not scaled by quite the same factor.
        left_px: Padding at the left, in pixels of the input; negative where it is cut off.
        top_px: Padding at the top.
    """

    picture_size: tuple[int, int]
    inner_size: tuple[int, int]
    left_px: int
    top_px: int

    def to_picture(self, boxes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Move boxes (N, 4), ltrb in pixels of the input, to the picture, cut at its edges."""
        moved = np.asarray(boxes, np.float64).reshape(-1, 4) - self._offsets()
        return clip(moved / self._factors(), self.picture_size)

    def to_input(self, boxes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Move boxes (N, 4), ltrb in pixels of the picture, to the input of the model."""
        scaled = np.asarray(boxes, np.float64).reshape(-1, 4) * self._factors()
        return (scaled + self._offsets()).astype(np.float32)

    def _factors(self) -> npt.NDArray[np.float64]:
        vertical = self.inner_size[0] / self.picture_size[0]
        horizontal = self.inner_size[1] / self.picture_size[1]
        return np.array([horizontal, vertical, horizontal, vertical], np.float64)

    def _offsets(self) -> npt.NDArray[np.float64]:
        return np.array([self.left_px, self.top_px, self.left_px, self.top_px], np.float64)


def prepare(
    picture: npt.NDArray[np.uint8], spec: InputSpec
) -> tuple[npt.NDArray[np.float32], Placement]:
    """Make a picture the input of a model, in the way that its manifest says.

    Args:
        picture: (H, W, 3) uint8, red, green, blue.
        spec: What the model wants.

    Returns:
        (3, height, width) float32, `(value * scale - mean) / std`, and where the picture lies.
    """
    if spec.resize == "crop":
        return centre_crop(picture, spec)
    if spec.resize == "letterbox":
        return letterbox(picture, spec)
    return interpolated(picture, spec)


def centre_crop(
    picture: npt.NDArray[np.uint8], spec: InputSpec
) -> tuple[npt.NDArray[np.float32], Placement]:
    """Resize a picture to a shorter side, and cut out its middle; see `prepare`.

    The geometry and the pixels are those of torchvision's `Resize` and `CenterCrop` on a Pillow
    image.

    Raises:
        EdgeError: If the picture is so thin that it would become absurdly large.
    """
    height, width = picture.shape[:2]
    placement = place((height, width), spec)
    inner = placement.inner_size
    if inner[0] * inner[1] > MAX_PIXELS:
        raise EdgeError(
            f"a picture of {width} x {height} px is too thin: resized to a shorter side of "
            f"{spec.shorter_px} px it has more than {MAX_PIXELS} pixels"
        )
    image = Image.fromarray(picture).resize(inner[::-1], Image.Resampling.BILINEAR)
    left_px, top_px = -placement.left_px, -placement.top_px
    box = (left_px, top_px, left_px + spec.size[1], top_px + spec.size[0])
    return _normalised(np.asarray(image.crop(box)), spec), placement


def letterbox(
    picture: npt.NDArray[np.uint8], spec: InputSpec
) -> tuple[npt.NDArray[np.float32], Placement]:
    """Fit a picture into the input of a model, keep its proportions, and fill up with grey.

    The geometry is that of Ultralytics' `LetterBox(auto=False)`, the pixels are OpenCV's.

    Args:
        picture: (H, W, 3) uint8, red, green, blue.
        spec: What the model wants.

    Returns:
        (3, height, width) float32, `(value * scale - mean) / std`, and where the picture lies.
    """
    height, width = picture.shape[:2]
    placement = place((height, width), spec)
    inner = placement.inner_size
    canvas = np.full((*spec.size, 3), spec.pad_value, np.uint8)
    rows = slice(placement.top_px, placement.top_px + inner[0])
    columns = slice(placement.left_px, placement.left_px + inner[1])
    canvas[rows, columns] = resize_bilinear(picture, inner)
    return _normalised(canvas, spec), placement


def interpolated(
    picture: npt.NDArray[np.uint8], spec: InputSpec
) -> tuple[npt.NDArray[np.float32], Placement]:
    """Resize a picture in floats, for "fit" and "stretch"; what it leaves free is 0.

    The geometry and the values are those of torchvision's `GeneralizedRCNNTransform`: for
    "stretch" with a `fixed_size`, for "fit" with a least and a greatest size that are the sides
    of the input. It lets the size of its output follow each picture; this one has one size.

    Returns:
        See `prepare`.
    """
    placement = place((picture.shape[0], picture.shape[1]), spec)
    rows, columns = placement.inner_size
    values = interpolate_bilinear(picture, placement.inner_size)
    factors = spec.scale / np.array(spec.std)
    offsets = np.array(spec.mean) / np.array(spec.std)
    image = np.zeros((3, *spec.size), np.float32)
    for channel in range(3):
        inner = image[channel, :rows, :columns]
        np.multiply(values[:, :, channel], np.float32(factors[channel]), out=inner)
        inner -= np.float32(offsets[channel])
    return image, placement


def _normalised(canvas: npt.NDArray[np.uint8], spec: InputSpec) -> npt.NDArray[np.float32]:
    """Return pixels (H, W, 3) as the model wants their values, (3, H, W)."""
    # A table of the 256 values, so that each is rounded once: 255 / 255 is exactly 1.
    values = np.arange(256, dtype=np.float64)[None, :] * spec.scale
    tables = (values - np.array(spec.mean)[:, None]) / np.array(spec.std)[:, None]
    image = np.empty((3, *spec.size), np.float32)
    for channel, table in enumerate(tables.astype(np.float32)):
        np.take(table, canvas[:, :, channel], out=image[channel], mode="clip")
    return image


def place(picture_size: tuple[int, int], spec: InputSpec) -> Placement:
    """Return where a picture of `picture_size` (height, width) will lie in the input."""
    return _PLACES[spec.resize](picture_size, spec)


def _stretched_place(picture_size: tuple[int, int], spec: InputSpec) -> Placement:
    return Placement(picture_size, spec.size, 0, 0)


def _fitted_place(picture_size: tuple[int, int], spec: InputSpec) -> Placement:
    height, width = picture_size
    scale = min(spec.size[0] / height, spec.size[1] / width)
    # Cut off as PyTorch does, where a whole side may come out a pixel short. A very thin
    # picture keeps one pixel.
    inner = (max(math.floor(height * scale), 1), max(math.floor(width * scale), 1))
    return Placement(picture_size, inner, 0, 0)


def _crop_place(picture_size: tuple[int, int], spec: InputSpec) -> Placement:
    assert spec.shorter_px is not None, "checked with the manifest"
    height, width = picture_size
    longer_px = int(spec.shorter_px * max(height, width) / min(height, width))
    inner = (spec.shorter_px, longer_px) if height <= width else (longer_px, spec.shorter_px)
    top_px, left_px = (
        round((whole - wanted) / 2) for whole, wanted in zip(inner, spec.size, strict=True)
    )
    return Placement(picture_size, inner, -left_px, -top_px)


def _letterbox_place(picture_size: tuple[int, int], spec: InputSpec) -> Placement:
    height, width = picture_size
    scale = min(spec.size[0] / height, spec.size[1] / width)
    if not spec.scale_up:
        scale = min(scale, 1.0)
    # A very thin picture keeps one pixel.
    inner = (max(round(height * scale), 1), max(round(width * scale), 1))
    left_px = top_px = 0
    if spec.centred:
        # Ultralytics subtracts 0.1, so that of an odd padding the smaller half comes first.
        top_px = round((spec.size[0] - inner[0]) / 2 - 0.1)
        left_px = round((spec.size[1] - inner[1]) / 2 - 0.1)
    return Placement(picture_size, inner, left_px, top_px)


_PLACES: dict[str, Callable[[tuple[int, int], InputSpec], Placement]] = {
    "letterbox": _letterbox_place,
    "crop": _crop_place,
    "fit": _fitted_place,
    "stretch": _stretched_place,
}


def read_picture(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture file as OpenCV's `imread` would show it, in red, green, blue.

    An orientation in the EXIF data is applied. Grey becomes three equal channels, of 16 bits
    the upper 8 count, and transparency is dropped.

    Returns:
        (H, W, 3) uint8.

    Raises:
        EdgeError: If the file is missing, truncated, no picture, or absurdly large.
    """
    with warnings.catch_warnings():
        # Pillow warns of odd metadata, which does not matter here.
        warnings.simplefilter("ignore")
        try:
            with path.open("rb") as file:
                image = _open_image(file)
                image.load()
                return rgb_pixels(ImageOps.exif_transpose(image))
        except FileNotFoundError as error:
            raise EdgeError(f"'{path}' does not exist; name a picture") from error
        except Image.DecompressionBombError as error:
            raise EdgeError(
                f"'{path}' has more than {MAX_PIXELS} pixels; make it smaller"
            ) from error
        except EdgeError as error:
            raise EdgeError(f"'{path}' {error}") from error
        except _DAMAGE as error:
            cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise EdgeError(f"'{path}' cannot be read as a picture: {cause.lower()}") from error


def _open_image(file: BinaryIO) -> ImageFile.ImageFile:
    for open_format in _READERS.values():
        file.seek(0)
        with contextlib.suppress(*_NOT_THIS_FORMAT):
            image = open_format(file)
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            return image
    raise EdgeError(f"is no picture that can be read; there are: {', '.join(FORMATS)}")


def rgb_pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the pixels of a Pillow image, (H, W, 3) uint8, red, green, blue.

    Raises:
        EdgeError: If its values have no known range (32-bit integers or floats).
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        # The conversion in Pillow itself cuts at 255 in some versions.
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise EdgeError("has 32 bits a pixel, of unknown range; save it with 8 or 16")
    return np.array(image.convert("RGB"), np.uint8)
