"""Read the small text files in which a kernel tells about itself; what is not told is None."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/")
# Of a counter of 64 bits.
MOST_DIGITS = 20


def first_line(path: Path) -> str | None:
    """Return the first line without blanks; None if there is none."""
    # The device tree ends its texts with a zero byte.
    text = next(iter(lines(path)), "").rstrip("\0").strip()
    return text or None


def number(path: Path) -> int | None:
    """Return the whole number that a file holds, perhaps below zero; else None."""
    return whole_number(first_line(path) or "")


def whole_number(text: str) -> int | None:
    """Return a whole number, perhaps below zero, as a kernel writes it; else None."""
    digits = text.removeprefix("-")
    return int(text) if digits.isdecimal() and len(digits) <= MOST_DIGITS else None


def lines(path: Path) -> list[str]:
    """Return all lines; none if the file cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not every kernel has the file, and not everybody may read it
        return []
