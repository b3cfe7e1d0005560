"""What timed runs see: the first pictures, stored ones, or a made-up one if there are none."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.opened import Opened
from runtime_bench.artifact.preprocess import prepare, read_picture
from runtime_bench.runtime.feeds import Feed, made_up_feed
from runtime_bench.runtime.runnable import Runnable

MOST_PICTURES = 50
# A device may have 512 MiB in all; a 640 px input takes 5 MB.
MOST_IMAGE_BYTES = 64 << 20

INPUTS = ("pictures", "stored pictures", "grey and noise", "noise")
LatencyInput = Literal["pictures", "stored pictures", "grey and noise", "noise"]

Images = list[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class TimedOn:
    """What models that take turns see.

    Attributes:
        kind: In words.
        pictures: The same for all of them; none where inputs are made up.
        sha256: Of the pictures, if they came with a model.
    """

    kind: LatencyInput
    pictures: tuple[Path, ...] = ()
    sha256: tuple[str, ...] = ()


def choose_inputs(opened: Sequence[Opened], pictures: Sequence[Path]) -> TimedOn:
    """Return what models are timed on: the given pictures, else those that came with one.

    Args:
        opened: The first of them that has pictures lends them to the others.
        pictures: What was given.
    """
    if pictures:
        return TimedOn("pictures", tuple(pictures))
    for one in opened:
        if one.stored_pictures:
            files = one.manifest.files
            sha256 = tuple(files[name].sha256 for name in one.manifest.pictures)
            return TimedOn("stored pictures", tuple(one.stored_pictures), sha256)
    return TimedOn("noise" if opened[0].known is None else "grey and noise")


def inputs_of(opened: Opened, pictures: Sequence[Path]) -> list[Feed]:
    """Return what a model is timed on: pictures, or what is made up.

    Raises:
        EdgeError: If a picture cannot be read, or nothing says how pictures go in.
    """
    if pictures or opened.known is not None:
        return [*timed_inputs(pictures, opened.manifest.input)]
    return [made_up_feed(opened.session.inputs, opened.shapes)]


def timed_inputs(pictures: Sequence[Path], spec: InputSpec) -> Images:
    """Return the first pictures as inputs, each (1, 3, height, width), to be timed in turn.

    At most 50, and no more than 64 MiB of them, since a small device must hold them. Without
    any it is one in [0, 1] that is grey, with noise in its right half.

    Raises:
        EdgeError: If a picture cannot be read.
    """
    height, width = spec.size
    fitting = max(1, MOST_IMAGE_BYTES // (3 * 4 * height * width))
    chosen = pictures[: min(MOST_PICTURES, fitting)]
    if not chosen:
        return [_made_up_image(spec)]
    return [prepare(read_picture(path), spec)[0][None] for path in chosen]


def in_turn(session: Runnable, feeds: Sequence[Feed]) -> Callable[[], object]:
    """Return a call that runs a model on the next feed, each ready where it computes."""
    calls = itertools.cycle([session.ready(feed) for feed in feeds])
    return lambda: next(calls)()


def _made_up_image(spec: InputSpec) -> npt.NDArray[np.float32]:
    height, width = spec.size
    image = np.full((1, 3, height, width), 114 / 255, dtype=np.float32)
    noise = np.random.default_rng(0).random((3, height, width - width // 2))
    image[0, :, :, width // 2 :] = noise
    return image
