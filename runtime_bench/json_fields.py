"""Take checked values out of a JSON object that nobody has checked yet.

Every error names the file and the path of the field, such as `output.iou`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runtime_bench.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TEXT = 500


class JsonFields:
    """One JSON object; each method takes one key out of it, `finish` refuses what is left.

    Args:
        value: The object as it was read.
        source: The file it comes from, for error messages.
        where: The path of the object inside the file; empty for the whole file.
    """

    def __init__(self, value: object, *, source: str, where: str = "") -> None:
        self.source = source
        self.where = where
        if not isinstance(value, dict):
            raise self.error(None, f"must be an object, not {_kind(value)}")
        self._left: dict[str, object] = dict(value)

    def error(self, key: str | None, problem: str) -> EdgeError:
        """Return the error that names the file, the field and the problem."""
        field = self._path(key)
        return EdgeError(
            f"{self.source}: {field} {problem}" if field else f"{self.source}: it {problem}"
        )

    def take(self, key: str) -> object:
        """Return whatever stands under `key`."""
        if key not in self._left:
            raise self.error(key, "is missing")
        return self._left.pop(key)

    def text(self, key: str, *, choices: Sequence[str] | None = None) -> str:
        """Return a printable text that is not empty; one of `choices` where they are given."""
        value = self.take(key)
        if not isinstance(value, str):
            raise self.error(key, f"must be a text, not {_kind(value)}")
        return self._checked_text(key, value, choices)

    def any_text(self, key: str) -> str:
        """Return a text of any kind, empty or not printable too: a name that is not ours."""
        return self._only_text(key, self.take(key))

    def texts(self, key: str, *, least: int = 1, most: int) -> tuple[str, ...]:
        """Return a list of `least` to `most` printable texts."""
        return tuple(
            self._checked_text(
                f"{key}[{index}]", self._only_text(f"{key}[{index}]", value), None
            )
            for index, value in enumerate(self._list(key, least=least, most=most))
        )

    def flag(self, key: str, *, choices: Sequence[bool] = (False, True)) -> bool:
        """Return true or false; where `choices` has only one of them, only that one."""
        value = self.take(key)
        if not isinstance(value, bool):
            raise self.error(key, f"must be true or false, not {_kind(value)}")
        if value not in choices:
            raise self.error(key, f"is {str(value).lower()}, which this version does not know")
        return value

    def integer(self, key: str, *, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`."""
        return self._checked_integer(key, self.take(key), least, most)

    def integers(self, key: str, *, count: int, least: int, most: int) -> tuple[int, ...]:
        """Return a list of exactly `count` whole numbers from `least` to `most`."""
        return tuple(
            self._checked_integer(f"{key}[{index}]", value, least, most)
            for index, value in enumerate(self._list(key, least=count, most=count))
        )

    def some_integers(
        self, key: str, *, most_entries: int, least: int, most: int
    ) -> tuple[int, ...]:
        """Return a list of up to `most_entries` whole numbers from `least` to `most`."""
        return tuple(
            self._checked_integer(f"{key}[{index}]", value, least, most)
            for index, value in enumerate(self._list(key, least=0, most=most_entries))
        )

    def number(self, key: str, *, least: float, most: float) -> float:
        """Return a number from `least` to `most`."""
        return self._checked_number(key, self.take(key), least, most)

    def checked_number(self, key: str, value: object, *, least: float, most: float) -> float:
        """Return a value that stood under `key` if it is a number from `least` to `most`."""
        return self._checked_number(key, value, least, most)

    def numbers(self, key: str, *, count: int, least: float, most: float) -> tuple[float, ...]:
        """Return a list of exactly `count` numbers from `least` to `most`."""
        return tuple(
            self._checked_number(f"{key}[{index}]", value, least, most)
            for index, value in enumerate(self._list(key, least=count, most=count))
        )

    def mapping(self, key: str) -> dict[str, object]:
        """Return a JSON object as it is; what it holds is not looked at."""
        value = self.take(key)
        if not isinstance(value, dict):
            raise self.error(key, f"must be an object, not {_kind(value)}")
        return value

    def is_known(self, key: str) -> bool:
        """Whether something else than null stands under `key`; a null is taken.

        A key that is missing is none of the two: it is an error when it is taken.
        """
        if self._left.get(key, ...) is not None:
            return True
        self.take(key)
        return False

    def child(self, key: str) -> JsonFields:
        """Return the object under `key`, to take its fields one by one."""
        return JsonFields(self.take(key), source=self.source, where=self._path(key))

    def children(self, key: str) -> dict[str, JsonFields]:
        """Return the objects of the object under `key`, by their keys."""
        where = self._path(key)
        return {
            name: JsonFields(value, source=self.source, where=f"{where}[{name!r}]")
            for name, value in self.mapping(key).items()
        }

    def objects(self, key: str, *, most: int) -> tuple[JsonFields, ...]:
        """Return the objects of the list under `key`, of at most that many."""
        return tuple(
            JsonFields(value, source=self.source, where=self._path(f"{key}[{index}]"))
            for index, value in enumerate(self._list(key, least=0, most=most))
        )

    def left(self) -> tuple[str, ...]:
        """Return the keys that were not taken yet."""
        return tuple(self._left)

    def finish(self) -> None:
        """Refuse a key that nobody asked for: it was meant to change something.

        Raises:
            EdgeError: If a key is left.
        """
        for key in self._left:
            raise self.error(
                None, f"has the unknown key {key!r}; another version may have written it"
            )

    def _list(self, key: str, *, least: int, most: int) -> list[object]:
        value = self.take(key)
        if not isinstance(value, list):
            raise self.error(key, f"must be a list, not {_kind(value)}")
        if not least <= len(value) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            raise self.error(key, f"must have {wanted} entries, not {len(value)}")
        return value

    def _only_text(self, key: str, value: object) -> str:
        if not isinstance(value, str):
            raise self.error(key, f"must be a text, not {_kind(value)}")
        return value

    def _checked_text(self, key: str, value: str, choices: Sequence[str] | None) -> str:
        if not value or len(value) > MAX_TEXT:
            raise self.error(key, f"must have 1 to {MAX_TEXT} characters, not {len(value)}")
        if not value.isprintable():
            raise self.error(key, f"must be printable, not {value[:40]!a}")
        if choices is not None and value not in choices:
            known = ", ".join(repr(choice) for choice in choices)
            raise self.error(key, f"is {value[:80]!r}; this version knows {known}")
        return value

    def _checked_integer(self, key: str, value: object, least: int, most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, f"must be a whole number, not {_kind(value)}")
        if not least <= value <= most:
            raise self.error(key, f"must be from {least} to {most}, not {_shortened(value)}")
        return value

    def _checked_number(self, key: str, value: object, least: float, most: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"must be a number, not {_kind(value)}")
        # An int may be too great for a float, so it is compared before it is turned into one.
        if (
            isinstance(value, float) and not math.isfinite(value)
        ) or not least <= value <= most:
            raise self.error(
                key, f"must be from {least:g} to {most:g}, not {_shortened(value)}"
            )
        return float(value)

    def _path(self, key: str | None) -> str:
        return ".".join(part for part in (self.where, key) if part)


def _shortened(value: float) -> str:
    # The decimal digits of a huge int would fill the screen (or be refused by Python itself).
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number beyond 10^20"
    return f"{value}"


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    if value is None:
        return "null"
    return names.get(type(value), "a number")
