"""ImageNet's folders are called by WordNet's ids, and the classes of its models by words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json

_ID = re.compile(r"n\d{8}")
# As Keras gives it away: {"0": ["n01440764", "tench"], ...}.
INDEX_FILE = "imagenet_class_index.json"


def labels_of_ids(ids: Sequence[str], *, count: int, source: Path) -> dict[str, int] | None:
    """Return the model's label of each WordNet id; None if `ids` are something else.

    With as many ids as the model has classes, labels go by their order, as everywhere. With
    fewer, a file in the data's folder, or the one that it is in, tells them.

    Args:
        ids: What the classes of a data set are called.
        count: How many classes the model has.
        source: The data set's folder or file.

    Raises:
        EdgeError: If there are fewer, and no such file, or it cannot be read.
    """
    if not ids or not all(_ID.fullmatch(one) for one in ids):
        return None
    if len(set(ids)) == count:
        return {one: label for label, one in enumerate(sorted(ids))}
    folder = source if source.is_dir() else source.parent
    for place in (folder / INDEX_FILE, folder.parent / INDEX_FILE):
        if place.is_file():
            return _read(place, count)
    raise EdgeError(
        f"{source}: its classes are {len(set(ids))} of WordNet's ids, and the model has {count}"
        f" classes, called by words; put {INDEX_FILE} there, which tells which is which"
    )


def _read(path: Path, count: int) -> dict[str, int]:
    content = read_json(path)
    labels = {}
    for key, entry in content.items() if isinstance(content, dict) else ():
        if not (key.isdecimal() and isinstance(entry, list) and entry and int(key) < count):
            raise EdgeError(
                f'{path}: an entry is a class and its WordNet id, such as "0": ["n01440764", '
                f'"tench"], for the model\'s {count} classes; {str(key)[:20]!r} is none'
            )
        labels[str(entry[0])] = int(key)
    return labels
