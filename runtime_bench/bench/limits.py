"""What a gate holds an artifact to, from options and from a file."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from runtime_bench.errors import EdgeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Of a file of a few lines; what is larger is no such file.
MOST_BYTES = 100_000
SHARES = ("max_slowdown",)


@dataclass(frozen=True)
class Limits:
    """Limits; None for what may be as it likes. The names are those of the options.

    Attributes:
        max_slowdown: By what share of the reference's median latency it may be slower.
        max_ap_drop: How much AP it may lose, in AP.
        max_top1_drop: The same of a classifier's top-1 accuracy.
        max_latency_ms: Its median latency.
        min_ap: Its AP.
        min_top1: Its top-1 accuracy.
        max_size_mb: Of the model file, in megabytes of a million bytes.
        max_memory_mb: Peak resident memory of loading and running it.
    """

    max_slowdown: float | None = None
    max_ap_drop: float | None = None
    max_top1_drop: float | None = None
    max_latency_ms: float | None = None
    min_ap: float | None = None
    min_top1: float | None = None
    max_size_mb: float | None = None
    max_memory_mb: float | None = None

    @property
    def given(self) -> dict[str, float]:
        """The limits that there are, by name."""
        limits = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: limit for name, limit in limits.items() if limit is not None}


def share(text: str) -> float:
    """Return a share of a whole from what people write: `5%` or `0.05`.

    Raises:
        ValueError: If it is none from 0 to 1.
    """
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = math.nan
    if not 0 <= found <= 1:  # which nothing is that is no number
        raise ValueError(f"'{text}' is no share; write 5% or 0.05")
    return found


def read_limits(path: Path) -> Limits:
    """Read limits from a TOML file, such as `max_slowdown = "5%"`.

    Raises:
        EdgeError: If it cannot be read, or has a name or a value that no limit has.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise EdgeError(f"{path} has more than {MOST_BYTES} bytes; it is no file of limits")
        entries = tomllib.loads(content.decode())
    except OSError as error:
        raise EdgeError(f"cannot read {path}: {error.strerror}; name a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EdgeError(f"{path} is no TOML: {error}") from error
    known = [field.name for field in fields(Limits)]
    for name in entries:
        if name not in known:
            raise EdgeError(
                f"{path}: no limit is called '{name}'; there are {', '.join(known)}"
            )
    return Limits(**{name: _limit(path, name, value) for name, value in entries.items()})


def _limit(path: Path, name: str, value: Any) -> float:
    if name in SHARES:
        try:
            return share(str(value))
        except ValueError as error:
            raise EdgeError(f"{path}: {name}: {error}") from None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf:
        raise EdgeError(f"{path}: {name} is {value!r}; it must be a number from 0 on")
    return float(value)


def merged(below: Limits, above: Limits) -> Limits:
    """Return limits of which those in `above` count where both have one."""
    return replace(below, **above.given)
