"""What a data set is: pictures with their boxes, and the faults found on the way in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime_bench.artifact.manifest import Task
from runtime_bench.errors import EdgeError

Boxes = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture on disk and what is known to be in it.

    Attributes:
        name: What the data set calls it; unique within its data set.
        path: Where the file lies.
        size: (height, width) in pixels, the EXIF orientation applied.
        boxes: (N, 4) float32, left, top, right, bottom, in pixels of the picture. A picture
            with a class as a whole has one box, which is all of it.
        labels: (N,) int64, indices into the names of the data set.
        crowd: (N,) bool, True where one box stands for a whole group (COCO's `iscrowd`).
    """

    name: str
    path: Path
    size: tuple[int, int]
    boxes: Boxes
    labels: Labels
    crowd: Flags


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures, the names of their classes, and what was left out on reading.

    Attributes:
        source: The file or folder that was read, as it was given.
        names: One name per class; labels index it.
        pictures: In the order of the source; pictures without a box are kept.
        labelled: Whether the source says what is in the pictures.
        skipped: One "file: reason" for each picture or box that was left out.
        task: What the labels are for: "detect" boxes, or "classify" whole pictures.
    """

    source: str
    names: tuple[str, ...]
    pictures: tuple[Picture, ...]
    labelled: bool
    skipped: tuple[str, ...] = ()
    task: Task = "detect"


@dataclass
class FaultLog:
    """Faults in data: the first one ends the reading, or each is listed and left out."""

    skip_bad: bool
    skipped: list[str] = field(default_factory=list)

    def report(self, where: object, fault: str) -> None:
        """Take note of a fault.

        Raises:
            EdgeError: Unless faulty pictures and boxes are to be skipped.
        """
        line = f"{shown(where)}: {fault}"
        if not self.skip_bad:
            raise EdgeError(f"{line}; correct it, or leave such entries out with --skip-bad")
        self.skipped.append(line)


@dataclass
class BoxList:
    """The boxes of one picture while they are gathered; in pixels, left, top, right, bottom."""

    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)

    def add(self, box: tuple[float, float, float, float], label: int, *, crowd: bool) -> None:
        """Append one box with its class."""
        self.boxes.append(box)
        self.labels.append(label)
        self.crowd.append(crowd)

    def arrays(self) -> tuple[Boxes, Labels, Flags]:
        """Return boxes (N, 4), labels (N,) and crowd flags (N,); N may be 0."""
        return (
            np.array(self.boxes, dtype=np.float32).reshape(-1, 4),
            np.array(self.labels, dtype=np.int64),
            np.array(self.crowd, dtype=np.bool_),
        )


def box_fault(box: tuple[float, float, float, float], size: tuple[int, int]) -> str | None:
    """Return what is wrong with a box (left, top, right, bottom) in a picture, if anything.

    One pixel beyond an edge is let pass: annotation tools count pixels from 0 or from 1.
    """
    left, top, right, bottom = box
    height, width = size
    if right <= left or bottom <= top:
        return f"a box without area, {_box_text(box)}"
    if left < -1 or top < -1 or right > width + 1 or bottom > height + 1:
        return f"a box outside the picture ({width} x {height} px), {_box_text(box)}"
    return None


def finite_number(value: object) -> float | None:
    """Return `value` as a float if it is a finite number (a bool is none), else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def shown(value: object) -> str:
    """Return a text for an error message: on one line, and not longer than a line should be."""
    text = str(value)
    if not text.isprintable():
        text = ascii(text)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _box_text(box: tuple[float, float, float, float]) -> str:
    return "left {:.5g}, top {:.5g}, right {:.5g}, bottom {:.5g}".format(*box)
