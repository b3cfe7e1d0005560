"""Read pictures and their boxes from what people have: COCO, Ultralytics, or a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from runtime_bench.artifact.manifest import Manifest, Task
from runtime_bench.artifact.preprocess import read_picture
from runtime_bench.data.class_folder import (
    DELIMITERS,
    class_folders,
    read_class_folders,
    read_class_table,
)
from runtime_bench.data.coco_json import read_coco
from runtime_bench.data.picture_folder import list_pictures, read_folder
from runtime_bench.data.pictures import Dataset, FaultLog, Picture, shown
from runtime_bench.data.wordnet import labels_of_ids
from runtime_bench.data.yolo_yaml import read_yolo
from runtime_bench.errors import EdgeError
from runtime_bench.progress import track

__all__ = [
    "Dataset",
    "Picture",
    "match_classes",
    "match_model",
    "read_dataset",
    "verify_pictures",
]


_OTHER_TASK: dict[Task, str] = {
    "detect": "its labels are classes of whole pictures, and the model finds boxes; pass "
    "a COCO .json, an Ultralytics .yaml, or a plain folder of pictures",
    "classify": "its labels are boxes, and the model gives classes of whole pictures; pass a "
    "folder for each class, or a .csv of pictures and classes",
}


def read_dataset(
    source: Path, *, images_dir: Path | None = None, split: str = "val", skip_bad: bool = False
) -> Dataset:
    """Read a data set; the pictures themselves are not decoded (see `verify_pictures`).

    Args:
        source: A COCO JSON (pictures in `images/` beside it or beside its folder), an
            Ultralytics data.yaml, or a folder of pictures, which then have no labels. Of
            pictures with a class as a whole: a folder with one for each class, or a CSV or TSV
            file of pictures and classes.
        images_dir: Where the pictures of a COCO JSON lie, if elsewhere.
        split: Which part of a data.yaml, or of folders for classes: train, val or test.
        skip_bad: List a faulty picture or box in `skipped` and go on, instead of raising.

    Raises:
        EdgeError: For the first fault, with the file and what is wrong; and, whatever
            `skip_bad` says, if the source cannot be read or no picture is left.
    """
    faults = FaultLog(skip_bad)
    suffix = source.suffix.lower()
    if images_dir is not None and suffix != ".json":
        raise EdgeError(f"{source}: --images-dir goes with a COCO JSON only; leave it out")
    if source.is_dir():
        in_it = list_pictures(source, recursive=False)
        classes = {} if in_it else class_folders(source, split=split)
        dataset = (
            read_class_folders(source, classes, faults)
            if classes
            else read_folder(source, faults)
        )
    elif not source.exists():
        raise EdgeError(f"{source}: no such file or folder; check the path of the data set")
    elif suffix == ".json":
        dataset = read_coco(source, images_dir=images_dir, faults=faults)
    elif suffix in (".yaml", ".yml"):
        dataset = read_yolo(source, split=split, faults=faults)
    elif suffix in DELIMITERS:
        dataset = read_class_table(source, faults)
    else:
        raise EdgeError(
            f"{source}: not a data set by its name; pass a COCO .json, an Ultralytics .yaml, a "
            "folder of pictures, or, with their classes, a folder for each or a .csv"
        )
    return _not_empty(dataset)


def verify_pictures(
    dataset: Dataset, *, skip_bad: bool = False, progress: bool = True
) -> Dataset:
    """Decode every picture once, and compare its size with what the data set says.

    Returns:
        The data set, without the pictures that failed if `skip_bad` (each one listed).

    Raises:
        EdgeError: For the first picture that is truncated, not a picture, or of another
            size; and if no picture is left.
    """
    faults = FaultLog(skip_bad)
    good = []
    for picture in track(dataset.pictures, label="Checking pictures", quiet=not progress):
        fault = _picture_fault(picture)
        if fault is None:
            good.append(picture)
        else:
            faults.report(picture.path, fault)
    skipped = (*dataset.skipped, *faults.skipped)
    return _not_empty(replace(dataset, pictures=tuple(good), skipped=skipped))


def match_model(dataset: Dataset, manifest: Manifest) -> Dataset:
    """Return the data set with labels that index a model's classes; see `match_classes`."""
    return match_classes(dataset, manifest.names, task=manifest.task)


def match_classes(
    dataset: Dataset, names: tuple[str, ...], *, task: Task = "detect"
) -> Dataset:
    """Return the data set with labels that index `names`; classes are matched by name.

    Those that are called by WordNet's ids, as ImageNet's folders are, are matched by these.

    Raises:
        EdgeError: If a label is of a class that is not among `names`, or labels are for another
            task than the model's.
    """
    if dataset.labelled and dataset.task != task:
        raise EdgeError(f"{dataset.source}: {_OTHER_TASK[task]}")
    if dataset.names == names:
        return dataset
    index = {name: label for label, name in reversed(list(enumerate(names)))}
    if task == "classify" and not index.keys() & set(dataset.names):
        by_id = labels_of_ids(dataset.names, count=len(names), source=Path(dataset.source))
        index = by_id or index
    new_label = np.array([index.get(name, -1) for name in dataset.names], dtype=np.int64)
    pictures = []
    for picture in dataset.pictures:
        labels = new_label[picture.labels] if len(picture.labels) else picture.labels
        if (labels < 0).any():
            missing = dataset.names[int(picture.labels[labels < 0][0])]
            raise EdgeError(
                f"{dataset.source}: class '{shown(missing)}' in {shown(picture.name)} is not "
                f"one of the model's, {_list_text(names)}; use data with the model's classes"
            )
        pictures.append(replace(picture, labels=labels))
    return replace(dataset, names=names, pictures=tuple(pictures))


def _picture_fault(picture: Picture) -> str | None:
    try:
        height, width = read_picture(picture.path).shape[:2]
    except EdgeError as error:
        return str(error).removeprefix(f"'{picture.path}' ")
    if (height, width) == picture.size:
        return None
    said_height, said_width = picture.size
    return (
        f"the picture is {width} x {height} px, "
        f"the data set says {said_width} x {said_height} px"
    )


def _not_empty(dataset: Dataset) -> Dataset:
    if dataset.pictures:
        return dataset
    left_out = f" ({len(dataset.skipped)} were skipped)" if dataset.skipped else ""
    raise EdgeError(
        f"{dataset.source}: no picture in this data set{left_out}; pass another one"
    )


def _list_text(names: tuple[str, ...]) -> str:
    few = ", ".join(shown(name) for name in names[:10])
    return few if len(names) <= 10 else f"{few} and {len(names) - 10} more"
