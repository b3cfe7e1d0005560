"""The pictures of one architecture: the same for testing, others for each seed to score on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from runtime_bench.data.dataset import Dataset, Picture, match_classes, verify_pictures
from runtime_bench.errors import EdgeError
from xprune.config import BUILTIN
from xprune.data.sets import PictureRequest, PictureSets, read_test, split_pictures
from xprune.models.detector import Detector
from xprune.study.config import Entry

# Of built-in scenes, which have no end, there are so many times more than a seed draws.
BUILTIN_POOL = 4


@dataclass(frozen=True)
class Pictures:
    """What an architecture is tested on, and what seeds draw from.

    Attributes:
        test: Decoded once; its labels, if it has any, index the model's classes.
        pool: Disjoint from `test`, not decoded yet.
        count: How many a seed draws.
    """

    test: Dataset
    pool: Dataset
    count: int

    def drawn(self, seed: int) -> PictureSets:
        """Return the test pictures, and those that a seed scores on."""
        order = list(self.pool.pictures)
        random.Random(seed).shuffle(order)
        some = replace(self.pool, pictures=tuple(order[: self.count]))
        return PictureSets(
            test=self.test,
            calibration=verify_pictures(some, progress=False),
            spare=replace(self.pool, pictures=tuple(order[self.count :])),
        )


def read_pictures_of(
    entry: Entry,
    options: dict[str, Any],
    detector: Detector,
    *,
    scenes: Path,
    say: Callable[[str], None],
) -> Pictures:
    """Read and split the pictures of an architecture, in the same way for every seed.

    Args:
        entry: The architecture.
        options: Its paths, resolved.
        detector: Whose classes labels are to be of. Random weights were trained for no
            classes: labels that are not theirs are left out, and that is said.
        scenes: A folder for the built-in scenes.
        say: Tells a person, in one line, what is being done.

    Raises:
        EdgeError: If pictures are faulty or too few, both test and are scored on, or labels
            are not of a trained model's classes.
    """
    is_builtin = BUILTIN in (options["data"], options["calibration"])
    count = entry.calibration_images * (BUILTIN_POOL if is_builtin else 1)
    request = PictureRequest(
        data=options["data"],
        images_dir=Path(options["images_dir"]) if options["images_dir"] else None,
        calibration=options["calibration"],
        test_count=entry.images,
        calibration_count=count,
        seed=0,
        skip_bad=False,
    )
    split = split_pictures(request, read_test(request, scenes=scenes), scenes=scenes)
    pool = replace(
        split.calibration, pictures=split.calibration.pictures + split.spare.pictures
    )
    test, pool = (_labelled_for(detector, part, entry, say) for part in (split.test, pool))
    return Pictures(verify_pictures(test), pool, entry.calibration_images)


def _labelled_for(
    detector: Detector, dataset: Dataset, entry: Entry, say: Callable[[str], None]
) -> Dataset:
    """Return pictures whose labels index the detector's classes, or are left out."""
    if not dataset.labelled:
        return replace(dataset, task=detector.task, names=detector.names)
    try:
        return match_classes(dataset, detector.names, task=detector.task)
    except EdgeError:
        if entry.trained:
            raise
    say(f"{entry.name} has random weights; the labels of {dataset.source} are left out")
    pictures = tuple(without_labels(picture) for picture in dataset.pictures)
    return replace(
        dataset, pictures=pictures, labelled=False, task=detector.task, names=detector.names
    )


def without_labels(picture: Picture) -> Picture:
    """Return a picture of which nothing is known."""
    return replace(
        picture,
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        crowd=np.zeros(0, np.bool_),
    )
