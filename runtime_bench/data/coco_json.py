"""Read COCO's instances JSON, with nothing in it taken on trust."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from runtime_bench.data.pictures import (
    BoxList,
    Dataset,
    FaultLog,
    Picture,
    box_fault,
    finite_number,
    shown,
)
from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json

Record = dict[str, object]

LARGEST_SIDE_PX = 1_000_000


@dataclass
class _Entry:
    """One picture of the JSON while its boxes are gathered."""

    name: str
    path: Path
    size: tuple[int, int]
    boxes: BoxList = field(default_factory=BoxList)


def read_coco(source: Path, *, images_dir: Path | None, faults: FaultLog) -> Dataset:
    """Read a COCO JSON; categories become labels 0, 1, ... in the order of their ids.

    A file without `annotations` (COCO's own test sets) is a set without labels. With
    `faults.skip_bad` a faulty picture is left out whole, a faulty box alone.

    Raises:
        EdgeError: If the file is not COCO's at all, or for the first fault in it.
    """
    content = read_json(source)
    if not isinstance(content, dict):
        raise EdgeError(f"{source}: not a COCO JSON, which is an object with 'images'")
    labelled = "annotations" in content
    categories = _records(content, "categories", source) if labelled else []
    label_of, names = _read_categories(categories, source)
    folder = _images_folder(source, images_dir)
    entries = _read_images(
        _records(content, "images", source), folder, source=source, faults=faults
    )
    if labelled:
        annotations = _records(content, "annotations", source)
        _read_annotations(annotations, entries, label_of, faults=faults)
    pictures = tuple(
        Picture(entry.name, entry.path, entry.size, *entry.boxes.arrays())
        for entry in entries.values()
        if entry is not None
    )
    return Dataset(str(source), names, pictures, labelled, tuple(faults.skipped))


def _records(content: Record, key: str, source: Path) -> list[Record]:
    value = content.get(key)
    if not isinstance(value, list):
        raise EdgeError(f"{source}: not a COCO JSON, it has no list called '{key}'")
    for index, record in enumerate(value):
        if not isinstance(record, dict):
            raise EdgeError(f"{source}: {key}[{index}] is not an object; correct the file")
    return value


def _read_categories(
    records: list[Record], source: Path
) -> tuple[dict[int, int], tuple[str, ...]]:
    """Return the label of each category id, and the names in the order of the ids."""
    name_of: dict[int, str] = {}
    for index, record in enumerate(records):
        number, name = _whole(record.get("id")), record.get("name")
        where = f"{source}: categories[{index}]"
        if number is None or not isinstance(name, str) or not name:
            raise EdgeError(f"{where} needs a whole number 'id' and a text 'name'; correct it")
        if number in name_of:
            raise EdgeError(f"{where} has the id {number} a second time; give it its own")
        if name in name_of.values():
            raise EdgeError(f"{where} has the name '{shown(name)}' a second time; rename it")
        name_of[number] = name
    ids = sorted(name_of)
    return {number: label for label, number in enumerate(ids)}, tuple(name_of[i] for i in ids)


def _images_folder(source: Path, images_dir: Path | None) -> Path:
    if images_dir is not None:
        if not images_dir.is_dir():
            raise EdgeError(f"{images_dir}: no such folder; check --images-dir")
        return images_dir
    places = (source.parent / "images", source.parent.parent / "images")
    for place in places:
        if place.is_dir():
            return place
    raise EdgeError(
        f"{source}: its pictures are neither in {places[0]} nor in {places[1]}; "
        "say where with --images-dir"
    )


def _read_images(
    records: list[Record], folder: Path, *, source: Path, faults: FaultLog
) -> dict[int, _Entry | None]:
    """Return an entry for each id of a picture; None for one that is skipped."""
    entries: dict[int, _Entry | None] = {}
    seen: set[str] = set()
    for index, record in enumerate(records):
        number, name = _whole(record.get("id")), record.get("file_name")
        if number is None or not isinstance(name, str) or not name:
            where = f"{source}: images[{index}]"
            faults.report(where, "needs a whole number 'id' and a text 'file_name'")
        elif number in entries:
            faults.report(name, f"the id {number} is that of another picture")
        elif name in seen:
            faults.report(name, "listed a second time")
            entries[number] = None
        else:
            seen.add(name)
            entries[number] = _read_image(record, name, folder=folder, faults=faults)
    return entries


def _read_image(record: Record, name: str, *, folder: Path, faults: FaultLog) -> _Entry | None:
    height, width = _whole(record.get("height")), _whole(record.get("width"))
    path = Path(os.path.normpath(folder / name))
    if not _is_inside(path, folder):
        faults.report(name, f"the name leads out of the folder of the pictures, {folder}")
    elif not _is_file(path):
        faults.report(path, "no such picture")
    elif height is None or width is None:
        faults.report(path, "'height' and 'width' must be whole numbers of pixels")
    elif not (0 < height <= LARGEST_SIDE_PX and 0 < width <= LARGEST_SIDE_PX):
        faults.report(path, f"a size that cannot be, {shown(width)} x {shown(height)} px")
    else:
        return _Entry(name, path, (height, width))
    return None


def _read_annotations(
    records: list[Record],
    entries: dict[int, _Entry | None],
    label_of: dict[int, int],
    *,
    faults: FaultLog,
) -> None:
    """Add the annotations to the pictures that they belong to."""
    seen: set[int] = set()
    for index, record in enumerate(records):
        image = _whole(record.get("image_id"))
        if image is None or image not in entries:
            fault = f"belongs to a picture that is not listed, {shown(record.get('image_id'))}"
            faults.report(f"annotations[{index}]", fault)
            continue
        entry = entries[image]
        if entry is None:  # its picture is skipped, and said so
            continue
        if record.get("id") is not None:
            number = _whole(record["id"])
            if number is None or number in seen:
                fault = "is that of another" if number in seen else "is not a whole number"
                faults.report(
                    entry.path, f"an annotation whose id {shown(record['id'])} {fault}"
                )
                continue
            seen.add(number)
        fault_or_none = _add_annotation(record, entry, label_of)
        if fault_or_none is not None:
            faults.report(entry.path, f"{fault_or_none} (annotations[{index}])")


def _add_annotation(record: Record, entry: _Entry, label_of: dict[int, int]) -> str | None:
    """Add one annotation to its picture, or return what is wrong with it."""
    category = _whole(record.get("category_id"))
    if category is None or category not in label_of:
        return f"an annotation of an unknown category, {shown(record.get('category_id'))}"
    crowd = record.get("iscrowd", 0)
    if crowd not in (0, 1):
        return f"'iscrowd' is {shown(crowd)}, and must be 0 or 1"
    box = _box(record)
    if box is None:
        return f"'bbox' must be four finite numbers, and is {shown(record.get('bbox'))}"
    fault = box_fault(box, entry.size)
    if fault is None:
        entry.boxes.add(box, label_of[category], crowd=bool(crowd))
    return fault


def _box(record: Record) -> tuple[float, float, float, float] | None:
    """Return left, top, right, bottom from `bbox`, or around the polygons if it is absent."""
    if record.get("bbox") is None:
        return _around_polygons(record.get("segmentation"))
    numbers = _finite_numbers(record["bbox"])
    if numbers is None or len(numbers) != 4:
        return None
    left, top, width, height = numbers
    return left, top, left + width, top + height


def _around_polygons(polygons: object) -> tuple[float, float, float, float] | None:
    if not isinstance(polygons, list):
        return None
    across: list[float] = []
    down: list[float] = []
    for polygon in polygons:
        numbers = _finite_numbers(polygon)
        if numbers is None or len(numbers) % 2:
            return None
        across += numbers[0::2]
        down += numbers[1::2]
    return (min(across), min(down), max(across), max(down)) if across else None


def _finite_numbers(value: object) -> list[float] | None:
    if not isinstance(value, list):
        return None
    numbers = [finite_number(item) for item in value]
    finite = [number for number in numbers if number is not None]
    return finite if len(finite) == len(value) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_inside(path: Path, folder: Path) -> bool:
    # Compared as text: a picture may well be a link to a file elsewhere, its name may not.
    return path.absolute().is_relative_to(os.path.normpath(folder.absolute()))


def _is_file(path: Path) -> bool:
    # os.path, because Path.is_file raises for a name that is too long.
    return os.path.isfile(path)  # noqa: PTH113
