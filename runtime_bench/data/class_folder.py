"""Read pictures that each show one class: a folder for each class, or a table of files."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from runtime_bench.data.picture_folder import header_size, list_pictures
from runtime_bench.data.pictures import PICTURE_SUFFIXES, BoxList, Dataset, FaultLog, Picture
from runtime_bench.errors import EdgeError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
MOST_TABLE_BYTES = 1 << 30


def class_folders(folder: Path, *, split: str) -> dict[Path, list[Path]]:
    """Return the folders of the classes, sorted, each with its pictures.

    Args:
        folder: Of the data set: a folder for each class in it, or in its folder `split`.
        split: Such as "val".

    Returns:
        Nothing where pictures are not sorted by class.
    """
    return _filled(folder / split) or _filled(folder)


def read_class_folders(
    folder: Path, classes: dict[Path, list[Path]], faults: FaultLog
) -> Dataset:
    """Read a data set whose classes are called as their folders are; see `class_folders`."""
    entries = [(path, label) for label, paths in enumerate(classes.values()) for path in paths]
    root = next(iter(classes)).parent
    return _dataset(folder, tuple(one.name for one in classes), entries, root, faults)


def read_class_table(table: Path, faults: FaultLog) -> Dataset:
    """Read a CSV or TSV file with two columns: a picture, and its class.

    A picture is a path from the folder of the table. A first row that names no picture by its
    suffix is a heading. Classes come in the order of their names.

    Raises:
        EdgeError: If the table cannot be read, or a row has not both.
    """
    rows = _rows(table)
    if rows and Path(rows[0][0]).suffix.lower() not in PICTURE_SUFFIXES:
        rows = rows[1:]
    names = tuple(sorted({name for _, name in rows}))
    labels = {name: label for label, name in enumerate(names)}
    entries = [(table.parent / file, labels[name]) for file, name in rows]
    return _dataset(table, names, entries, table.parent, faults)


def _rows(table: Path) -> list[tuple[str, str]]:
    if table.stat().st_size > MOST_TABLE_BYTES:
        raise EdgeError(f"{table} has more than {MOST_TABLE_BYTES >> 30} GiB; it is no table")
    rows = []
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=DELIMITERS[table.suffix.lower()])
            for row in reader:
                if not row:
                    continue
                if len(row) < 2 or not row[0].strip() or not row[1].strip():
                    raise EdgeError(
                        f"{table}, line {reader.line_num}: a row has a picture and its class"
                    )
                rows.append((row[0].strip(), row[1].strip()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise EdgeError(f"{table} cannot be read as a table: {error}") from error
    return rows


def _dataset(
    source: Path,
    names: tuple[str, ...],
    entries: list[tuple[Path, int]],
    root: Path,
    faults: FaultLog,
) -> Dataset:
    pictures, seen = [], set[str]()
    for path, label in entries:
        name = os.path.relpath(path, root)
        size = None
        if name.startswith(os.pardir):
            faults.report(path, f"it lies outside {root}")
        elif name in seen:
            faults.report(path, "it is listed twice")
        else:
            size = header_size(path, faults)
        seen.add(name)
        if size is not None:
            pictures.append(Picture(name, path, size, *_whole(size, label).arrays()))
    return Dataset(
        str(source), names, tuple(pictures), True, tuple(faults.skipped), task="classify"
    )


def _whole(size: tuple[int, int], label: int) -> BoxList:
    """Return the box of a picture that shows one thing."""
    boxes = BoxList()
    height, width = size
    boxes.add((0.0, 0.0, float(width), float(height)), label, crowd=False)
    return boxes


def _filled(folder: Path) -> dict[Path, list[Path]]:
    """Return the folders in one that have pictures, at any depth."""
    listed = {one: list_pictures(one, recursive=True) for one in _folders(folder)}
    return {one: paths for one, paths in listed.items() if paths}


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise EdgeError(
            f"{folder}: cannot be listed ({error.strerror}); check access"
        ) from None
    return [one for one in entries if one.is_dir() and not one.name.startswith(".")]
