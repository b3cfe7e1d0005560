"""A study as one value, from a TOML file that is hostile until all of it is checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from runtime_bench.errors import UsageError
from xprune.config import (
    BUILTIN,
    CRITERION_NAMES,
    MAX_SIDE_PX,
    RANGES,
    SUBSTITUTE_NAMES,
    parse_imgsz,
    read_toml,
)

ZEROED, REMOVED, DEFAULT = "zeroed", "removed", "default"
MODES = (ZEROED, REMOVED, DEFAULT)
# Those that know a layer by itself, whatever takes its place; the others are for our default.
CRITERIA = ("l1", "l1_mean", "grad_act", "grad_act_mean", "random")
NO_WEIGHTS, HUB = "none", "DEFAULT"
# Words that may stand where a path may.
NO_PATHS = (NO_WEIGHTS, HUB, BUILTIN)
TABLES = "architectures"
MOST = 64
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PATHS = ("weights", "data", "images_dir", "calibration")


@dataclass(frozen=True)
class Entry:
    """One architecture of a study.

    Attributes:
        name: What it is called in the study, and its folder.
        model: A known name, a YAML, a weights file, or `builtin`.
        weights: A weights file, `DEFAULT` for torchvision's own, or `none` for random ones.
        data: Pictures to test on; accuracy needs labels.
        images_dir: Where the pictures of a COCO JSON lie, if not beside it.
        calibration: Pictures to score on; None for a part of `data`.
        imgsz: Input (height, width) in pixels; None for the model's own.
        images: How many pictures test.
        calibration_images: How many are scored on, drawn anew for each seed.
    """

    name: str
    model: str
    weights: str | None = None
    data: str = BUILTIN
    images_dir: str | None = None
    calibration: str | None = None
    imgsz: tuple[int, int] | None = None
    images: int = 200
    calibration_images: int = 32

    @property
    def trained(self) -> bool:
        """Whether the weights are those of a training."""
        return self.weights != NO_WEIGHTS


@dataclass(frozen=True)
class StudyConfig:
    """What a study is of.

    Attributes:
        entries: The architectures.
        criteria: What layers are chosen by.
        modes: What is done with them: `zeroed`, `removed`, or our `default` in their stead.
        ratios: Shares of the convolutions, rounded up to whole layers.
        seeds: Each draws other calibration pictures, and other scores of `random`.
        own_criterion: What our default chooses layers by.
        own_substitute: What it puts in their place.
        conf: Score from which a box counts as found.
        threads: Of onnxruntime; None for all that this process may use.
        timing_seconds: That each artifact is timed at most, in the mean.
    """

    entries: tuple[Entry, ...]
    criteria: tuple[str, ...] = ("l1", "grad_act")
    modes: tuple[str, ...] = MODES
    ratios: tuple[float, ...] = (0.05,)
    seeds: tuple[int, ...] = (0,)
    own_criterion: str = "divergence"
    own_substitute: str = "linear"
    conf: float = 0.25
    threads: int | None = None
    timing_seconds: float = 10.0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def read_study(path: Path) -> StudyConfig:
    """Return the study that a TOML file describes.

    Raises:
        UsageError: With everything that is wrong in it.
    """
    content = read_toml(path, given_as="CONFIG")
    tables = content.pop(TABLES, None)
    problems = [
        *_problems(content, OPTIONS),
        *_problems_of_tables(tables, shared=content),
    ]
    if problems:
        raise UsageError(f"{path}: {'; '.join(problems)}")
    assert isinstance(tables, list)
    shared = {name: content.pop(name) for name in SHARED if name in content}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content.items()
    }
    entries = tuple(_entry({**shared, **table}) for table in tables)
    return StudyConfig(entries=entries, **values)


def only(config: StudyConfig, names: Sequence[str]) -> tuple[Entry, ...]:
    """Return the entries of these names, all without any.

    Raises:
        UsageError: If there is none of a name.
    """
    known = {entry.name: entry for entry in config.entries}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--only {unknown[0]}: the study has {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names or known))


def entry_problem(entry: Entry, root: Path) -> str | None:
    """Return which of an entry's files is missing, in words; None if all are there."""
    for name in PATHS:
        value = getattr(entry, name)
        if value is not None and value not in NO_PATHS and not (root / value).exists():
            return (
                f"{entry.name}: there is no {root / value} ({name}); paths of a study are "
                "relative to --data-root"
            )
    return None


def resolved(entry: Entry, root: Path) -> dict[str, Any]:
    """Return the options of an entry's runs, its paths made to start at `root`."""
    values: dict[str, Any] = {
        name: value if value is None or value in NO_PATHS else str(root / value)
        for name in PATHS
        for value in [getattr(entry, name)]
    }
    in_root = root / entry.model
    model = str(in_root) if in_root.is_file() else entry.model
    return {**values, "model": model, "imgsz": entry.imgsz}


def _entry(values: Mapping[str, Any]) -> Entry:
    given = dict(values)
    given.setdefault("name", _default_name(given["model"]))
    if "imgsz" in given:
        given["imgsz"] = parse_imgsz(str(given["imgsz"]))
    return Entry(**given)


def _default_name(model: str) -> str:
    return Path(model).stem.replace(":", "-")


def _problems_of_tables(tables: object, *, shared: Mapping[str, Any]) -> list[str]:
    if not isinstance(tables, list) or not tables:
        return [f"there is no [[{TABLES}]] table with a model; give one for each architecture"]
    problems, names = [], []
    for number, table in enumerate(tables, start=1):
        if not isinstance(table, dict) or not isinstance(table.get("model"), str):
            problems.append(f"[[{TABLES}]] number {number} has no model")
            continue
        name = table.get("name", _default_name(table["model"]))
        found = _problems(table, ENTRY_OPTIONS)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            found.append(f"name is {name!r}, must be letters, digits, '.', '_' and '-'")
        if "images_dir" in table and table.get("data", BUILTIN) == BUILTIN:
            found.append("images_dir belongs to a COCO JSON as data, and there is none")
        problems += [f"{str(name)[:64]}: {problem}" for problem in found]
        names.append(name)
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        problems.append(
            f"{len(doubled)} architectures are called {doubled[0]!r}; give each a name"
        )
    return problems


def _problems(given: Mapping[str, Any], options: Mapping[str, Check]) -> list[str]:
    """Return everything that is wrong with the options, in words."""
    unknown = [name for name in given if name not in options]
    found = [(name, options[name](given[name])) for name in given if name in options]
    return [
        *(f"there is no option {name!r}; there are: {', '.join(options)}" for name in unknown),
        *(f"{name} is {str(given[name])[:80]!r}, {what}" for name, what in found if what),
    ]


Check = Callable[[Any], str | None]


def _number(low: float, high: float, words: str) -> Check:
    def check(value: Any) -> str | None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        inside = is_number and math.isfinite(value) and low < value <= high
        return None if inside else f"must be a number {words}"

    return check


def _whole(name: str) -> Check:
    low, high, words = RANGES[name]

    def check(value: Any) -> str | None:
        inside = type(value) is int and low < value <= high
        return None if inside else f"must be a whole number {words}"

    return check


def _one_of(known: Sequence[str]) -> Check:
    return lambda value: None if value in known else f"not one of {', '.join(known)}"


def _list_of(check: Check) -> Check:
    def check_all(value: Any) -> str | None:
        if not isinstance(value, list) or not 1 <= len(value) <= MOST:
            return f"must be a list of 1 to {MOST}"
        if any(value.count(item) > 1 for item in value):
            return "has one entry twice"
        return next((f"each {problem}" for item in value if (problem := check(item))), None)

    return check_all


def _text(value: Any) -> str | None:
    ok = isinstance(value, str) and value.strip() and "\0" not in value
    return None if ok else "must be a text"


def _size(value: Any) -> str | None:
    words = f"must be a side (320) or HEIGHTxWIDTH ('256x320'), at most {MAX_SIDE_PX}"
    if type(value) not in (int, str):
        return words
    try:
        size = parse_imgsz(str(value))
    except UsageError:
        return words
    ok = not isinstance(size, str) and all(1 <= side <= MAX_SIDE_PX for side in size)
    return None if ok else words


# Options of an architecture that may also be given once, for all.
SHARED: dict[str, Check] = {
    "imgsz": _size,
    "images": _whole("images"),
    "calibration_images": _whole("calibration_images"),
}
ENTRY_OPTIONS: dict[str, Check] = {
    "name": _text,
    "model": _text,
    **dict.fromkeys(PATHS, _text),
    **SHARED,
}
OPTIONS: dict[str, Check] = {
    "criteria": _list_of(_one_of(CRITERIA)),
    "modes": _list_of(_one_of(MODES)),
    "ratios": _list_of(_number(0, 1, "above 0 and at most 1")),
    "seeds": _list_of(_whole("seed")),
    "own_criterion": _one_of(CRITERION_NAMES),
    "own_substitute": _one_of(SUBSTITUTE_NAMES),
    "conf": _number(0, 1, "above 0 and at most 1"),
    "threads": _whole("threads"),
    "timing_seconds": _number(0, 3600, "above 0 and at most 3600"),
    **SHARED,
}
assert {field.name for field in fields(Entry)} == set(ENTRY_OPTIONS)
