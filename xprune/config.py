"""A run as one value, from defaults, a TOML file and the command line, all checked at once."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from runtime_bench.errors import UsageError

STAGES = ("attribute", "plan", "prune", "recover", "export", "measure")
BUILTIN = "builtin"
# Names alone, since what is behind them needs torch; a test holds the two lists together.
CRITERION_NAMES = (
    "grad_act",
    "grad_act_mean",
    "removal",
    "removal_signed",
    "fisher",
    "l1",
    "l1_mean",
    "random",
    "divergence",
    "ablation",
)
SUBSTITUTE_NAMES = (
    "zero",
    "identity",
    "affine",
    "linear",
    "depthwise",
    "lowrank-25",
    "lowrank-50",
    "convolution",
    "thin-25",
    "thin-50",
    "thin-62",
    "thin-75",
    "thin-87",
    "clip",
    "lowrank",
    "thin",
    "auto",
)
RECOVERIES = ("none", "refit", "distill", "finetune")
# Those of them that train after the refit.
TRAININGS = ("distill", "finetune")
SEARCHES = ("none", "evolution", "beam", "dp")
SWITCH = ("on", "off")
AUTO = "auto"
# The first one is what a model comes in.
PRECISIONS = ("float32", "int8", "float16")
AMOUNTS = ("speedup", "latency_ms", "layers", "fraction")
DEFAULT_SPEEDUP = 1.2
MAX_SIDE_PX = 4096
# Options that may name a file; what it holds belongs to the run as much as its name.
FILE_OPTIONS = ("model", "weights", "data", "calibration", "latency_table")

# Options that a settled run may still change: what was found in fewer seconds is gone on from,
# and what was recovered in one way can be recovered in another.
MAY_GROW = ("search_seconds", "recover", "recover_minutes", "recover_images")

# The first stage that an option matters to: what an earlier stage left does not depend on it.
STAGE_OF: dict[str, str] = {
    "model": "attribute",
    "weights": "attribute",
    "data": "attribute",
    "images_dir": "attribute",
    "calibration": "attribute",
    "images": "attribute",
    "calibration_images": "attribute",
    "imgsz": "attribute",
    "regions": "attribute",
    "conf": "attribute",
    "seed": "attribute",
    "skip_bad": "attribute",
    "substitute": "attribute",
    "criterion": "attribute",
    "threads": "plan",
    "rewrites": "plan",
    "base_imgsz": "plan",
    "precision": "plan",
    **dict.fromkeys(AMOUNTS, "plan"),
    "search": "plan",
    "search_seconds": "plan",
    "rounds": "plan",
    "latency_table": "plan",
    "recover": "prune",
    "recover_minutes": "recover",
    "recover_images": "recover",
    "raw": "export",
    "stored_pictures": "export",
}

FLAGS = ("skip_bad", "raw")
SIZES = ("imgsz", "base_imgsz")
FLOAT_OPTIONS = ("conf", "speedup", "latency_ms", "fraction", "recover_minutes")
# Options that are one of a few words.
NAMED = {
    "criterion": CRITERION_NAMES,
    "substitute": SUBSTITUTE_NAMES,
    "recover": RECOVERIES,
    "search": SEARCHES,
    "rewrites": SWITCH,
    "precision": (*PRECISIONS, AUTO),
}
# Above the first number, up to the second one.
RANGES: dict[str, tuple[float, float, str]] = {
    "speedup": (1.0, 1000.0, "above 1 and at most 1000"),
    "latency_ms": (0.0, 1e6, "above 0"),
    "fraction": (0.0, 1.0, "above 0 and at most 1"),
    "conf": (0.0, 1.0, "above 0 and at most 1"),
    "regions": (0, 10_000, "from 1 to 10000"),
    "layers": (0, 100_000, "at least 1"),
    "images": (0, 10_000_000, "at least 1"),
    "calibration_images": (0, 100_000, "at least 1"),
    "threads": (0, 1024, "from 1 to 1024"),
    "search_seconds": (0, 1_000_000, "from 1 to 1000000"),
    "rounds": (0, 100, "from 1 to 100"),
    "recover_minutes": (0.0, 100_000.0, "above 0 and at most 100000"),
    "recover_images": (1, 10_000_000, "at least 2"),
    "seed": (-1, 2**31, "from 0 to 2147483648"),
    "stored_pictures": (-1, 64, "from 0 to 64"),
}


@dataclass(frozen=True)
class RunConfig:
    """Everything a person can say about a run; the names are those of the options.

    Attributes:
        model: A known name, a YAML, a weights file, or `builtin`.
        weights: A weights file or `none`, for a name or a YAML.
        data: Labelled pictures to test on.
        images_dir: Where the pictures of a COCO JSON lie, if not beside it.
        calibration: Pictures to score and refit on; None for a part of `data`.
        images: How many pictures test; None for all.
        calibration_images: How many are scored and refitted on.
        imgsz: Input (height, width) in pixels; None for the checkpoint's own, else 640;
            "auto" for what keeps most accuracy at the speed that is wanted.
        base_imgsz: Input of the unpruned model that speed-ups are against; None for `imgsz`.
        regions: How many a detector of two stages looks at; None for its own number.
        conf: Score from which a detection counts as found and is shown.
        seed: Of the split and of the random criterion.
        threads: Of onnxruntime; None for all that this process may use.
        skip_bad: Leave faulty data out, listed, instead of stopping.
        criterion: What a layer's importance is measured by.
        substitute: What may take a layer's place.
        speedup: Wanted latency before over latency after.
        latency_ms: Wanted latency after, in milliseconds.
        layers: Wanted number of candidates to remove.
        fraction: Wanted share of the convolutions to remove.
        search: How plans are looked for beyond what the scores say.
        search_seconds: That the search may take.
        rounds: Steps in which the saving is reached, the layers scored anew after each.
        precision: What the exported network computes in; "auto" for what keeps most.
        latency_table: Timings of the machine to plan for; None for this one.
        recover: How accuracy is won back.
        recover_minutes: That a training may take, after the refit.
        recover_images: How many pictures it may use; None for all that are not for testing.
        raw: Ship the raw head instead of NMS in the graph.
        rewrites: Whether to use those rewrites of the graph that are faster here.
        stored_pictures: How many calibration pictures go into the artifact, to be timed on.
    """

    model: str = BUILTIN
    weights: str | None = None
    data: str | None = None
    images_dir: str | None = None
    calibration: str | None = None
    images: int | None = None
    calibration_images: int = 64
    imgsz: tuple[int, int] | Literal["auto"] | None = None
    base_imgsz: tuple[int, int] | None = None
    regions: int | None = None
    conf: float = 0.25
    seed: int = 0
    threads: int | None = None
    skip_bad: bool = False
    criterion: str = "divergence"
    substitute: str = "auto"
    speedup: float | None = None
    latency_ms: float | None = None
    layers: int | None = None
    fraction: float | None = None
    search: str = "none"
    search_seconds: int = 300
    rounds: int = 1
    precision: str = "float32"
    latency_table: str | None = None
    recover: str = "refit"
    recover_minutes: float = 10.0
    recover_images: int | None = None
    raw: bool = False
    rewrites: str = "on"
    stored_pictures: int = 4

    @property
    def is_open(self) -> bool:
        """Whether size or precision are still to be chosen."""
        return AUTO in (self.imgsz, self.precision)

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        values = asdict(self)
        for name in SIZES:
            if isinstance(values[name], tuple):
                values[name] = list(values[name])
        return values


def make_config(given: Mapping[str, Any]) -> RunConfig:
    """Return the configuration for the options that were given, the others at their defaults.

    Raises:
        UsageError: If options are unknown or do not fit; the message names every one.
    """
    known = {name: value for name, value in given.items() if value is not None}
    if known.get("model", BUILTIN) == BUILTIN:
        known.setdefault("data", BUILTIN)
    problems = _problems(known)
    if problems:
        raise UsageError("; ".join(problems))
    if not any(name in known for name in AMOUNTS):
        known["speedup"] = DEFAULT_SPEEDUP
    for name in known.keys() & set(FLOAT_OPTIONS):
        known[name] = float(known[name])  # 2 in a TOML file is 2.0 on the command line
    for name in known.keys() & set(SIZES):
        if known[name] != AUTO:
            known[name] = tuple(known[name])
    return RunConfig(**known)


def merged(from_file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a file and of the command line together; the command line wins.

    An amount on the command line (such as `layers`) takes the place of another kind of amount
    (such as `speedup`) in the file.
    """
    kept = from_file
    if any(given.get(name) is not None for name in AMOUNTS):
        kept = {name: value for name, value in from_file.items() if name not in AMOUNTS}
    return {**kept, **{name: value for name, value in given.items() if value is not None}}


def read_config(path: Path) -> dict[str, Any]:
    """Return the options of a TOML file; paths in it are relative to the working folder.

    Raises:
        UsageError: If it is missing or is not TOML.
    """
    options = read_toml(path, given_as="--config")
    for name in SIZES:
        if isinstance(options.get(name), int | str):
            with contextlib.suppress(UsageError):  # said later, with all that is wrong
                options[name] = parse_imgsz(str(options[name]))
    return options


def read_toml(path: Path, *, given_as: str) -> dict[str, Any]:
    """Return what a TOML file holds.

    Args:
        path: The file.
        given_as: What the command calls it.

    Raises:
        UsageError: If it is missing or is not TOML.
    """
    if sys.version_info < (3, 11):
        raise UsageError(f"{given_as} needs Python 3.11 or newer; give the options themselves")
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}; check {given_as}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error


def parse_imgsz(text: str) -> tuple[int, int] | Literal["auto"]:
    """Return (height, width) for `320` or `256x320`; `auto` stays what it is.

    Raises:
        UsageError: If the text is of neither form.
    """
    if text.strip() == AUTO:
        return "auto"
    found = re.fullmatch(r"(\d{1,5})(?:[xX](\d{1,5}))?", text.strip())
    if not found:
        raise UsageError(f"--imgsz {text} is neither a side (320) nor HEIGHTxWIDTH (256x320)")
    height = int(found[1])
    return height, int(found[2] or height)


def difference(name: str, here: object, there: object) -> str:
    """Say in words how an option differs from what a folder holds."""
    option = "--" + name.replace("_", "-")
    return f"{option} is {_shown(here)} here and {_shown(there)} there"


def options_until(stage: str) -> tuple[str, ...]:
    """Return the options that matter to `stage` and those before it."""
    last = STAGES.index(stage)
    names = (field.name for field in fields(RunConfig))
    return tuple(name for name in names if STAGES.index(STAGE_OF[name]) <= last)


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    return "not given" if value is None else str(value)


def _problems(given: Mapping[str, Any]) -> list[str]:
    """Return everything that is wrong with the options, in words."""
    problems = []
    for name, value in given.items():
        problem = _problem(name, value) if name in STAGE_OF else None
        if name not in STAGE_OF:
            problems.append(f"there is no option '{name}'")
        elif problem:
            problems.append(f"{name} is {value!r}, {problem}")
    return problems + _problems_together(given)


def _problems_together(given: Mapping[str, Any]) -> list[str]:
    """Return what does not fit together, in words."""
    problems = []
    amounts = [name for name in AMOUNTS if name in given]
    if len(amounts) > 1:
        problems.append(f"{' and '.join(amounts)} exclude each other; give one")
    by_count = next((name for name in ("layers", "fraction") if name in given), None)
    searching = given.get("search") in SEARCHES[1:]
    in_rounds = given.get("rounds") not in (None, 1)
    if by_count and (searching or in_rounds):
        option = "search" if searching else "rounds"
        problems.append(f"{option} is for a saving of time; give speedup, not {by_count}")
    if searching and in_rounds:
        problems.append("search and rounds exclude each other; give one")
    if "latency_table" in given and {"layers", "fraction"} & set(given):
        problems.append("latency_table serves speedup or latency_ms, not a count of layers")
    if "latency_table" in given and "base_imgsz" in given:
        problems.append("latency_table is of one input size; leave base_imgsz out")
    is_open = [name for name in ("imgsz", "precision") if given.get(name) == AUTO]
    if is_open and by_count:
        problems.append(
            f"{is_open[0]} auto is for a saving of time; give speedup, not {by_count}"
        )
    if is_open and "latency_table" in given:
        problems.append(f"{is_open[0]} auto times on this machine; leave latency_table out")
    if "images_dir" in given and given.get("data", BUILTIN) == BUILTIN:
        problems.append("images_dir belongs to a COCO JSON as data, and there is none")
    return problems


def _problem(name: str, value: object) -> str | None:
    """Return what is wrong with one value, in words, or None."""
    if name in SIZES:
        return None if (name, value) == ("imgsz", AUTO) else _imgsz_problem(value)
    if name in NAMED:
        allowed = NAMED[name]
        return None if value in allowed else f"not one of {', '.join(allowed)}"
    if name in FLAGS:
        return None if isinstance(value, bool) else "not true or false"
    if name in FLOAT_OPTIONS:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return _range_problem(name, value) if is_number else "not a number"
    if name in RANGES:
        return _range_problem(name, value) if type(value) is int else "not a whole number"
    return None if isinstance(value, str) and value else "not a text"


def _imgsz_problem(value: object) -> str | None:
    ok = (
        isinstance(value, tuple | list)
        and len(value) == 2
        and all(type(side) is int and 1 <= side <= MAX_SIDE_PX for side in value)
    )
    return None if ok else f"not two sides from 1 to {MAX_SIDE_PX}"


def _range_problem(name: str, value: Any) -> str | None:
    low, high, words = RANGES[name]
    return None if low < value <= high else f"must be {words}"
