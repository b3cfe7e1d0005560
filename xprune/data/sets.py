"""Which pictures test, and which are scored and refitted on: never the same ones."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runtime_bench.artifact.manifest import Task
from runtime_bench.data.dataset import (
    Dataset,
    Picture,
    match_classes,
    read_dataset,
    verify_pictures,
)
from runtime_bench.errors import EdgeError
from runtime_bench.files import sha256_of
from xprune.builtin.scenes import CALIBRATION_SEED, CLASS_NAMES, TEST_SEED, write_scenes
from xprune.config import BUILTIN

BUILTIN_TEST_PICTURES = 300
BUILTIN_RECOVERY_PICTURES = 1000


@dataclass(frozen=True)
class PictureRequest:
    """What a run asks of its data.

    Attributes:
        data: A COCO JSON, a data.yaml, a folder, or `builtin`.
        images_dir: Where the pictures of a COCO JSON lie, if not beside it.
        calibration: The same for the pictures to score on; None for a part of `data`.
        test_count: How many pictures test; None for all that are left.
        calibration_count: How many are scored and refitted on.
        seed: Of the split and of the built-in scenes.
        skip_bad: Leave faulty entries out, listed, instead of raising.
    """

    data: str
    images_dir: Path | None
    calibration: str | None
    test_count: int | None
    calibration_count: int
    seed: int
    skip_bad: bool


@dataclass(frozen=True)
class PictureSets:
    """Pictures for testing, and others for scoring and refitting.

    Attributes:
        test: Labelled; they serve for nothing else.
        calibration: Those to score and refit on.
        spare: More from where the calibration pictures are from, neither decoded nor matched;
            those that a recovery may train on as well.
    """

    test: Dataset
    calibration: Dataset
    spare: Dataset

    @property
    def skipped(self) -> tuple[str, ...]:
        """What was left out of either, each fault once."""
        return tuple(dict.fromkeys((*self.test.skipped, *self.calibration.skipped)))


def class_names(data: str, labelled: Callable[[], Dataset]) -> tuple[str, ...]:
    """Return the names of the classes in a run's data, for a detector that brings none.

    Args:
        data: A COCO JSON, a data.yaml, or `builtin`, whose names are known without reading.
        labelled: Returns what is read from `data`, for the others.
    """
    return CLASS_NAMES if data == BUILTIN else labelled().names


def read_test(request: PictureRequest, *, scenes: Path) -> Dataset:
    """Read the pictures to test on, labelled or not, neither decoded nor matched yet.

    Args:
        request: What is asked for.
        scenes: A folder for the built-in scenes, where `builtin` is asked for.

    Raises:
        EdgeError: If the data is faulty.
    """
    return _read(request, request.data, scenes / "test")


def read_labelled(request: PictureRequest, *, scenes: Path) -> Dataset:
    """Read the labelled pictures of a run, neither decoded nor matched yet.

    Args:
        request: What the run asks for.
        scenes: A folder for the built-in scenes, where `builtin` is asked for.

    Raises:
        EdgeError: If the data is faulty or has no labels.
    """
    dataset = read_test(request, scenes=scenes)
    if not dataset.labelled:
        raise EdgeError(
            f"{request.data}: pictures without labels cannot test; give labelled --data, and "
            "unlabelled pictures as --calibration"
        )
    return dataset


def split_and_match(
    request: PictureRequest,
    test: Dataset,
    names: tuple[str, ...],
    *,
    scenes: Path,
    task: Task = "detect",
) -> PictureSets:
    """Check the pictures of a run, split them, and match their classes with the detector's.

    Args:
        request: What the run asks for.
        test: What `read_labelled` returned.
        names: The detector's classes; labels of the result index them.
        scenes: A folder for the built-in scenes, where `builtin` is asked for.
        task: What the labels have to be for.

    Raises:
        EdgeError: If data is faulty or too few, nothing is labelled, a class is not the
            detector's, or the same picture would both test and be scored on.
    """
    drawn = split_pictures(request, test, scenes=scenes)
    test, calibration = drawn.test, drawn.calibration
    # Labels before pictures, since decoding all of them may take minutes.
    test = match_classes(test, names, task=task)
    if not any(len(picture.boxes) for picture in test.pictures):
        raise EdgeError(
            f"{request.data}: no box is labelled on the {len(test.pictures)} test pictures, so "
            "there is no AP to measure; give data with boxes, or more --images"
        )
    calibration = _labels_if_matching(calibration, names, task)
    return PictureSets(
        test=verify_pictures(test, skip_bad=request.skip_bad),
        calibration=verify_pictures(calibration, skip_bad=request.skip_bad),
        spare=drawn.spare,
    )


def split_pictures(request: PictureRequest, test: Dataset, *, scenes: Path) -> PictureSets:
    """Split the pictures of a run as `split_and_match` does; labels need not fit, nor be there.

    Args:
        request: What the run asks for.
        test: What was read from its data.
        scenes: A folder for the built-in scenes, where `builtin` is asked for.

    Returns:
        Pictures that are neither decoded nor matched.

    Raises:
        EdgeError: If they are too few, or the same picture would both test and be scored on.
    """
    if request.calibration is None and request.data == BUILTIN:
        request = replace(request, calibration=BUILTIN)
    if request.calibration is None:
        calibration, test, spare = _split(test, request)
    else:
        calibration = _read(request, request.calibration, scenes / "calibration")
        _check_disjoint(test, calibration)
        calibration, spare = _some_and_rest(
            calibration, request.calibration_count, request.seed, option="--calibration-images"
        )
        if request.test_count is not None:
            test, _ = _some_and_rest(test, request.test_count, request.seed, option="--images")
    return PictureSets(test, calibration, spare)


def recovery_set(
    request: PictureRequest, sets: PictureSets, *, count: int | None, scenes: Path
) -> Dataset:
    """Return pictures to train on: those that were scored first, then others, no test picture.

    The built-in scenes have no end: of them more are drawn.

    Args:
        request: What the run asks for.
        sets: What `split_and_match` returned.
        count: How many pictures; None for all there are.
        scenes: A folder for the built-in scenes, where those are the calibration pictures.

    Raises:
        EdgeError: If there are fewer, or a class is not the detector's.
    """
    if sets.calibration.source == BUILTIN:
        wanted = count or BUILTIN_RECOVERY_PICTURES
        drawn = _read(replace(request, calibration_count=wanted), BUILTIN, scenes / "recovery")
        return match_classes(drawn, sets.calibration.names)
    spare = sets.spare
    if spare.labelled:
        spare = match_classes(spare, sets.calibration.names, task=spare.task)
    pictures = (*sets.calibration.pictures, *spare.pictures)
    if count is not None and count > len(pictures):
        raise EdgeError(
            f"{len(pictures)} pictures of {sets.calibration.source} are not for testing, and "
            f"--recover-images asks for {count}; give a lower one, or more as --calibration"
        )
    return replace(sets.calibration, pictures=pictures[:count], skipped=())


def _read(request: PictureRequest, source: str, scenes: Path) -> Dataset:
    images_dir = None
    if source == BUILTIN:
        testing = scenes.name == "test"
        count = (
            (request.test_count or BUILTIN_TEST_PICTURES)
            if testing
            else request.calibration_count
        )
        seed = TEST_SEED if testing else CALIBRATION_SEED
        # The count is in the name: a run may ask for another one after an error.
        path = scenes.with_name(f"{scenes.name}-{count}") / "instances.json"
        if not path.exists():
            path = write_scenes(path.parent, count=count, seed=seed)
    else:
        path = Path(source)
        images_dir = request.images_dir if source == request.data else None
    dataset = read_dataset(path, images_dir=images_dir, skip_bad=request.skip_bad)
    return replace(dataset, source=source)


def _split(dataset: Dataset, request: PictureRequest) -> tuple[Dataset, Dataset, Dataset]:
    """Return the calibration pictures, the test pictures, and what is left."""
    pictures = _shuffled(dataset.pictures, request.seed)
    wanted = request.calibration_count + (request.test_count or 1)
    if len(pictures) < wanted:
        raise EdgeError(
            f"{request.data} has {len(pictures)} pictures; {wanted} are needed for testing and "
            "calibration: lower --images or --calibration-images, or give --calibration"
        )
    held, rest = (
        pictures[: request.calibration_count],
        pictures[request.calibration_count :],
    )
    tested = rest[: request.test_count]
    # What reading skipped is listed once, with the test pictures.
    return (
        replace(dataset, pictures=held, skipped=()),
        replace(dataset, pictures=tested),
        replace(dataset, pictures=rest[len(tested) :], skipped=()),
    )


def _some_and_rest(
    dataset: Dataset, count: int, seed: int, *, option: str
) -> tuple[Dataset, Dataset]:
    if count > len(dataset.pictures):
        raise EdgeError(
            f"{dataset.source} has {len(dataset.pictures)} pictures, and {option} asks for "
            f"{count}; give a lower {option}, or more pictures"
        )
    shuffled = _shuffled(dataset.pictures, seed)
    some = replace(dataset, pictures=shuffled[:count])
    return some, replace(dataset, pictures=shuffled[count:], skipped=())


def _shuffled(pictures: Sequence[Picture], seed: int) -> tuple[Picture, ...]:
    order = list(pictures)
    random.Random(seed).shuffle(order)
    return tuple(order)


def _check_disjoint(test: Dataset, calibration: Dataset) -> None:
    tested: dict[int, list[Path]] = {}
    for picture in test.pictures:
        tested.setdefault(picture.path.stat().st_size, []).append(picture.path)
    hash_of = functools.cache(sha256_of)
    both = [
        picture.name
        for picture in calibration.pictures
        if any(
            picture.path.resolve() == path.resolve() or hash_of(picture.path) == hash_of(path)
            for path in tested.get(picture.path.stat().st_size, [])
        )
    ]
    if both:
        raise EdgeError(
            f"{len(both)} pictures ({both[0]}, …) are both in --data and in --calibration; "
            "leave --calibration out to have the data split"
        )


def _labels_if_matching(calibration: Dataset, names: tuple[str, ...], task: Task) -> Dataset:
    return match_classes(calibration, names, task=task) if calibration.labelled else calibration
