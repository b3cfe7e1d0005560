"""How a picture becomes the input of a model, as its manifest says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from runtime_bench.json_fields import JsonFields

# What goes with each way to resize, and with no other value.
RESIZES: Mapping[str, Mapping[str, Any]] = {
    "letterbox": {"antialias": False},
    "crop": {"antialias": True},
    "fit": {"antialias": False, "pad_value": None, "centred": False, "scale_up": True},
    "stretch": {"antialias": False, "pad_value": None, "centred": False, "scale_up": True},
}
# What the versions of a manifest know of them.
_SINCE = {"letterbox": 1, "crop": 3, "fit": 4, "stretch": 4}
_MAX_SIDE_PX = 16_384


@dataclass(frozen=True)
class InputSpec:
    """How a picture becomes the input of the model.

    The value of a pixel, 0 to 255, becomes `(value * scale - mean) / std`.

    Attributes:
        size: (height, width) in pixels.
        resize: "letterbox": all of the picture is fitted in, as OpenCV resizes; "crop": what
            lies in its middle, as Pillow resizes, with antialias; "fit": all of it is fitted in
            at the left top, and "stretch": each side is made the input's, both as PyTorch
            interpolates floats, which leaves values that are not whole.
        shorter_px: For a crop: the shorter side of the picture before the crop.
        pad_value: The grey, 0 to 255, of what the picture does not cover; None for the mean,
            which becomes 0.
        centred: Whether the picture lies in the middle; else at the left top.
        scale_up: Whether a picture smaller than the input is enlarged.
    """

    size: tuple[int, int]
    name: str = "images"
    dtype: str = "float32"
    layout: str = "NCHW"
    colour: str = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    resize: str = "letterbox"
    interpolation: str = "bilinear"
    antialias: bool = False
    pad_value: int | None = 114
    centred: bool = True
    scale_up: bool = True
    shorter_px: int | None = None

    @property
    def pad_colour(self) -> tuple[float, float, float]:
        """Red, green and blue, 0 to 255, of what the picture does not cover."""
        if self.pad_value is not None:
            return (self.pad_value, self.pad_value, self.pad_value)
        red, green, blue = (mean / self.scale for mean in self.mean)
        return (red, green, blue)


def read_input(fields: JsonFields, version: int) -> InputSpec:
    """Check what a manifest of some version says of the input, and return it.

    Raises:
        EdgeError: If anything is missing, unknown, of a wrong type, out of range, or does not
            go together.
    """
    spec = InputSpec(
        name=fields.text("name"),
        size=cast(
            "tuple[int, int]", fields.integers("size", count=2, least=1, most=_MAX_SIDE_PX)
        ),
        dtype=fields.text("dtype", choices=("float32",)),
        layout=fields.text("layout", choices=("NCHW",)),
        colour=fields.text("colour", choices=("rgb",)),
        scale=fields.number("scale", least=1e-6, most=1.0),
        mean=_three(fields, "mean", least=-1e3, most=1e3),
        std=_three(fields, "std", least=1e-6, most=1e3),
        resize=fields.text("resize", choices=[r for r in RESIZES if _SINCE[r] <= version]),
        interpolation=fields.text("interpolation", choices=("bilinear",)),
        antialias=fields.flag("antialias"),
        pad_value=_read_pad_value(fields, version),
        centred=fields.flag("centred"),
        scale_up=fields.flag("scale_up"),
        shorter_px=None if version < 3 else _read_shorter_side(fields),
    )
    fields.finish()
    _check_resize(fields, spec)
    return spec


def _check_resize(fields: JsonFields, spec: InputSpec) -> None:
    for key, wanted in RESIZES[spec.resize].items():
        value = getattr(spec, key)
        if value != wanted:
            shown = str(value).lower()
            raise fields.error(key, f"is {shown}, which resize '{spec.resize}' never is")
    if spec.pad_value is None and "pad_value" not in RESIZES[spec.resize]:
        raise fields.error("pad_value", f"is null, which resize '{spec.resize}' never is")
    cropped = spec.resize == "crop"
    least_px = max(spec.size) if cropped else 0
    if cropped != (spec.shorter_px is not None) or (spec.shorter_px or least_px) < least_px:
        raise fields.error("shorter_px", f"does not fit resize '{spec.resize}' to {spec.size}")


def _read_pad_value(fields: JsonFields, version: int) -> int | None:
    if version >= 4 and not fields.is_known("pad_value"):
        return None
    return fields.integer("pad_value", least=0, most=255)


def _read_shorter_side(fields: JsonFields) -> int | None:
    if not fields.is_known("shorter_px"):
        return None
    return fields.integer("shorter_px", least=1, most=_MAX_SIDE_PX)


def _three(
    fields: JsonFields, key: str, *, least: float, most: float
) -> tuple[float, float, float]:
    return cast(
        "tuple[float, float, float]", fields.numbers(key, count=3, least=least, most=most)
    )
