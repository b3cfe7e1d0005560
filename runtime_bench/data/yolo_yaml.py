"""Read an Ultralytics data.yaml where it points; nothing is fetched, nothing in it is run."""

from __future__ import annotations

import math
import os
from pathlib import Path

import yaml

from runtime_bench.data.picture_folder import header_size, list_pictures
from runtime_bench.data.pictures import (
    PICTURE_SUFFIXES,
    BoxList,
    Dataset,
    FaultLog,
    Picture,
    box_fault,
    shown,
)
from runtime_bench.errors import EdgeError

SPLITS = ("train", "val", "test")


def read_yolo(source: Path, *, split: str, faults: FaultLog) -> Dataset:
    """Read one split of a data.yaml and the label files that belong to its pictures.

    A picture without a label file shows background only; a set without any label file is
    a set without labels. A `download:` entry is not looked at.

    Raises:
        EdgeError: If the YAML is not what it should be, or for the first fault in the data.
    """
    content = _read_yaml(source)
    if "kpt_shape" in content:
        raise EdgeError(
            f"{source}: labels of key points are not read; pass a detection data set"
        )
    names = _read_names(content, source)
    base = _base(content, source)
    paths = _split_paths(content, split, base=base, source=source, faults=faults)
    label_files = {path: label_path(path) for path in paths}
    pictures = []
    for path in paths:
        size = header_size(path, faults)
        if size is not None:
            boxes = _read_labels(label_files[path], size=size, names=names, faults=faults)
            name = path.relative_to(base) if path.is_relative_to(base) else path
            pictures.append(Picture(name.as_posix(), path, size, *boxes.arrays()))
    labelled = any(file.is_file() for file in label_files.values())
    return Dataset(str(source), names, tuple(pictures), labelled, tuple(faults.skipped))


def label_path(picture: Path) -> Path:
    """Return where the labels of a picture lie: the last `images` folder becomes `labels`."""
    parts = list(picture.parts)
    folders = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _read_yaml(source: Path) -> dict[object, object]:
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise EdgeError(
            f"{source}: cannot be read ({error.strerror}); check the file"
        ) from None
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise EdgeError(
            f"{source}: not valid YAML{line}: {error.problem}; correct it"
        ) from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML lets these through for values such as `!!int ''` or very deep nesting.
        kind = type(error).__name__
        raise EdgeError(f"{source}: not valid YAML ({kind}); correct the file") from None
    if not isinstance(content, dict):
        raise EdgeError(f"{source}: not a data.yaml, which has 'names' and 'train' or 'val'")
    return content


def _read_names(content: dict[object, object], source: Path) -> tuple[str, ...]:
    """Return the names of the classes, checked against `nc`."""
    listed = content.get("names")
    if isinstance(listed, dict):
        # A bool would count as 0 or 1 here, so the keys are compared with their types.
        if [repr(key) for key in listed] != [repr(index) for index in range(len(listed))]:
            raise EdgeError(f"{source}: the keys of 'names' must be 0, 1, 2, ... in order")
        listed = list(listed.values())
    if not isinstance(listed, list) or not listed:
        raise EdgeError(f"{source}: 'names' must list the classes by name; add it")
    for name in listed:
        if not isinstance(name, (str, int)) or isinstance(name, bool) or name == "":
            raise EdgeError(
                f"{source}: the class name {shown(name)} is no text; put it in quotes"
            )
    names = tuple(str(name) for name in listed)
    for index, name in enumerate(names):
        if name in names[:index]:
            raise EdgeError(f"{source}: the class name '{shown(name)}' stands there twice")
    count = content.get("nc", len(names))
    if isinstance(count, bool) or count != len(names):
        raise EdgeError(
            f"{source}: nc is {shown(count)}, but 'names' has {len(names)}; correct it"
        )
    return names


def _base(content: dict[object, object], source: Path) -> Path:
    """Return the folder that the entries of the file are relative to."""
    root = content.get("path")
    if root is not None and not isinstance(root, str):
        raise EdgeError(f"{source}: 'path' must be a folder, and is {shown(root)}")
    return Path(os.path.normpath(source.absolute().parent / (root or "")))


def _split_paths(
    content: dict[object, object], split: str, *, base: Path, source: Path, faults: FaultLog
) -> list[Path]:
    """Return the paths of the pictures of one split, in order, each once."""
    places = content.get(split)
    if isinstance(places, str):
        places = [places]
    if not isinstance(places, list) or not all(isinstance(p, str) and p for p in places):
        there = ", ".join(key for key in SPLITS if content.get(key)) or "none"
        raise EdgeError(
            f"{source}: no usable '{split}' (there are: {there}); add it to the file"
        )
    found: list[Path] = []
    for place in places:
        found += _place_paths(_find_place(base, place, source), source, faults)
    unique = list(dict.fromkeys(found))
    if not unique:
        raise EdgeError(f"{source}: no picture in its '{split}', {', '.join(places)}; add some")
    return unique


def _find_place(base: Path, place: str, source: Path) -> Path:
    """Return where an entry leads; Roboflow writes '../valid' and means 'valid'."""
    tries = [place, place[3:]] if place.startswith("../") else [place]
    paths = [Path(os.path.normpath(base / text)) for text in tries]
    for path in paths:
        if os.path.exists(path):  # noqa: PTH110 (does not raise for a name that is too long)
            return path
    raise EdgeError(
        f"{source}: '{shown(place)}' leads to {shown(paths[0])}, which is not there; "
        "put the pictures there (nothing is downloaded) or correct 'path'"
    )


def _place_paths(place: Path, source: Path, faults: FaultLog) -> list[Path]:
    if place.is_dir():
        return list_pictures(place, recursive=True)
    if place.suffix.lower() != ".txt":
        raise EdgeError(f"{source}: {place} is neither a folder nor a .txt list of pictures")
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeError(f"{place}: cannot be read as a list of pictures ({error})") from None
    paths = []
    for line in filter(None, map(str.strip, lines)):
        path = Path(os.path.normpath(place.parent / line))
        if path.suffix.lower() in PICTURE_SUFFIXES:
            paths.append(path)
        else:
            faults.report(place, f"'{shown(line)}' is not a picture by its name")
    return paths


def _read_labels(
    file: Path, *, size: tuple[int, int], names: tuple[str, ...], faults: FaultLog
) -> BoxList:
    boxes = BoxList()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return boxes  # background
    except (OSError, UnicodeDecodeError) as error:
        faults.report(file, f"cannot be read as labels ({error})")
        return boxes
    for index, line in enumerate(lines, start=1):
        if line.strip():
            fault = _add_line(line, boxes, size=size, names=names)
            if fault is not None:
                faults.report(file, f"{fault} (line {index})")
    return boxes


def _add_line(
    line: str, boxes: BoxList, *, size: tuple[int, int], names: tuple[str, ...]
) -> str | None:
    """Add one line of labels, or return what is wrong with it."""
    try:
        label, *numbers = [float(word) for word in line.split()]
    except ValueError:
        return f"not numbers, '{shown(line)}'"
    if not math.isfinite(label) or not label.is_integer():
        return f"the class {label:g} is no whole number"
    if not 0 <= label < len(names):
        return f"an unknown class, {label:g}; there are {len(names)}"
    if not all(map(math.isfinite, numbers)):
        return "a number that is not finite"
    if len(numbers) == 4:
        centre_x, centre_y, across, down = numbers
        left, right = centre_x - across / 2, centre_x + across / 2
        top, bottom = centre_y - down / 2, centre_y + down / 2
    elif len(numbers) >= 6 and len(numbers) % 2 == 0:  # the outline of a segment
        left, right = min(numbers[0::2]), max(numbers[0::2])
        top, bottom = min(numbers[1::2]), max(numbers[1::2])
    else:
        return f"{len(numbers) + 1} numbers, where a box has 5 and an outline 7, 9, ..."
    height, width = size
    box = (left * width, top * height, right * width, bottom * height)
    fault = box_fault(box, size)
    if fault is None:
        boxes.add(box, int(label), crowd=False)
    return fault
