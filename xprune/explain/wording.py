"""Read a value out of untrusted JSON, and word it for a reader; what is missing is a dash."""

from __future__ import annotations

import math
from collections.abc import Mapping

MISSING = "\N{EM DASH}"
NOT_MEASURED = "not measured"

_MINUS = "\N{MINUS SIGN}"
_TIMES = "\N{MULTIPLICATION SIGN}"
_DASH = "\N{EN DASH}"
_THIN = "\N{NARROW NO-BREAK SPACE}"  # between a figure and its unit


def look_up(value: object, *keys: str) -> object:
    """Return `value[key][key]…`, or None where a step is missing or is no mapping."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def as_number(value: object) -> float | None:
    """Return a finite number as a float, and None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def number_at(value: object, *keys: str) -> float | None:
    """Return the number at `keys`, or None where there is none."""
    return as_number(look_up(value, *keys))


def items_at(value: object, *keys: str) -> list[object]:
    """Return the list at `keys`, empty where there is none."""
    found = look_up(value, *keys)
    return list(found) if isinstance(found, list | tuple) else []


def ends_at(value: object, *keys: str) -> tuple[float, float] | None:
    """Return the interval [low, high] at `keys`, or None where there is none."""
    ends = [
        number for item in items_at(value, *keys) if (number := as_number(item)) is not None
    ]
    return (ends[0], ends[1]) if len(ends) == 2 else None


def text_of(value: object) -> str:
    """Word any JSON value in one line."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", _MINUS) if math.isfinite(value) else MISSING
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value) or MISSING
    if isinstance(value, Mapping):
        parts = (f"{key}: {text_of(item)}" for key, item in value.items())
        return ", ".join(parts) or MISSING
    return str(value)


def fixed(value: float | None, digits: int) -> str:
    """Word a number with `digits` decimals."""
    if value is None:
        return MISSING
    value = round(value, digits) + 0.0  # so that nothing reads as minus zero
    return f"{value:,.{digits}f}".replace(",", _THIN).replace("-", _MINUS)


def score(value: float | None) -> str:
    """Word a score: three significant digits, whatever its size."""
    if value is None:
        return MISSING
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits}e{int(exponent)}".replace("-", _MINUS)
    decimals = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return fixed(value, decimals)


def milliseconds(seconds: float | None) -> str:
    """Word seconds as milliseconds, without the unit."""
    if seconds is None:
        return MISSING
    value = seconds * 1000
    return fixed(value, 3 if abs(value) < 1 else 2 if abs(value) < 100 else 1)


def ratio(value: float | None) -> str:
    """Word a ratio: two decimals and the multiplication sign."""
    return MISSING if value is None else f"{fixed(value, 2)}{_THIN}{_TIMES}"


def interval_at(value: object, *keys: str) -> str:
    """Word the interval of ratios [low, high] at `keys`."""
    ends = ends_at(value, *keys)
    return MISSING if ends is None else _DASH.join(fixed(end, 2) for end in ends)


def share(value: float | None) -> str:
    """Word a share as per cent; finer close to 100, where the difference matters."""
    if value is None:
        return MISSING
    percent = value * 100
    digits = 1 if (99 < percent < 101 and percent != 100) or 0 < abs(percent) < 10 else 0
    return f"{fixed(percent, digits)}{_THIN}%"


def change(before: float | None, after: float | None) -> str:
    """Word the way from `before` to `after`, in per cent of `before`."""
    if before is None or after is None or before == 0:
        return MISSING
    percent = (after / before - 1) * 100
    words = fixed(abs(percent), 1)
    if float(words.replace(_THIN, "")) == 0:
        return f"0.0{_THIN}%"
    return f"{_MINUS if percent < 0 else '+'}{words}{_THIN}%"


def amount(value: float | None, *, unit: str = "") -> str:
    """Word a count that may be large: `3.16 M`, or with a unit `2.40 GHz`."""
    if value is None:
        return MISSING
    for least, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= least:
            return f"{_three_digits(value / least)}{_THIN}{letter}{unit}"
    return f"{fixed(value, 0)}{_THIN}{unit}" if unit else fixed(value, 0)


def size(bytes_: float | None) -> str:
    """Word a size in bytes: `12.6 MB`, decimal."""
    if bytes_ is None:
        return MISSING
    for unit_bytes, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(bytes_) >= unit_bytes:
            return f"{_three_digits(bytes_ / unit_bytes)}{_THIN}{unit}"
    return f"{fixed(bytes_, 0)}{_THIN}B"


def _three_digits(value: float) -> str:
    return fixed(value, 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0)
