"""What goes into a model of which nothing is known but the shapes that it declares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime_bench.errors import EdgeError, UsageError

Shapes = Mapping[str, tuple[int, ...]]
# One array where a model has one input, else one by the name of each.
Feed = npt.NDArray[np.generic] | Mapping[str, npt.NDArray[np.generic]]

TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
}
# A shape is cheap to write and dear to fill: a picture of 16,384 px a side takes 3 GB.
MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class TensorInfo:
    """The name, shape and type of an input or output; a side that is not fixed is None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


def feed_shapes(inputs: Sequence[TensorInfo], given: Shapes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each input: what was given, else what the model declares.

    Args:
        inputs: Those of the model.
        given: By name; the name "" stands for the only input.

    Raises:
        UsageError: If a side is not known, what is given does not fit, or is far too large.
    """
    asked = dict(given)
    if "" in asked:
        if len(inputs) != 1:
            names = ", ".join(info.name for info in inputs)
            raise UsageError(f"the model has several inputs ({names}); write --shape NAME=1x3")
        asked[inputs[0].name] = asked.pop("")
    unknown = set(asked) - {info.name for info in inputs}
    if unknown:
        names = ", ".join(info.name for info in inputs)
        raise UsageError(f"the model has no input '{min(unknown)}'; it has: {names}")
    return {info.name: _shape_of(info, asked.get(info.name)) for info in inputs}


def made_up_feed(
    inputs: Sequence[TensorInfo], shapes: Shapes
) -> dict[str, npt.NDArray[np.generic]]:
    """Return an array for each input: noise in [0, 1) for numbers with a point, else zeros.

    Zeros, since whole numbers are often places in a table, and the first place is there.

    Raises:
        EdgeError: If an input is of a type that nothing can be made up for.
    """
    generator = np.random.default_rng(0)
    feed: dict[str, npt.NDArray[np.generic]] = {}
    for info in inputs:
        kind = TYPES.get(info.dtype)
        if kind is None:
            raise EdgeError(f"input '{info.name}' is {info.dtype}; no value can be made up")
        shape = shapes[info.name]
        if issubclass(kind, np.floating):
            feed[info.name] = generator.random(shape).astype(kind)
        else:
            feed[info.name] = np.zeros(shape, dtype=kind)
    return feed


def named_arrays(images: Sequence[Feed]) -> dict[str, npt.NDArray[np.generic]]:
    """Return all arrays under one name each: which image, and which input ("" if it is one)."""
    return {
        f"{index}:{name}": array
        for index, feed in enumerate(images)
        for name, array in (feed if isinstance(feed, Mapping) else {"": feed}).items()
    }


def feeds_of(arrays: Mapping[str, npt.NDArray[np.generic]]) -> list[Feed]:
    """Do `named_arrays` the other way around."""
    found: dict[str, dict[str, npt.NDArray[np.generic]]] = defaultdict(dict)
    for key, array in arrays.items():
        index, _, name = key.partition(":")
        found[index][name] = array
    return [feed.get("", feed) for feed in found.values()]


def _shape_of(info: TensorInfo, given: tuple[int, ...] | None) -> tuple[int, ...]:
    declared = "x".join("?" if side is None else str(side) for side in info.shape)
    if given is None:
        if None in info.shape:
            raise UsageError(
                f"input '{info.name}' has shape {declared}, and ? can be anything; "
                f"say what to time with --shape {declared.replace('?', 'N')}"
            )
        given = tuple(side for side in info.shape if side is not None)
    fits = len(given) == len(info.shape) and all(
        side in (None, wanted) for side, wanted in zip(info.shape, given, strict=True)
    )
    if not fits:
        wanted = "x".join(map(str, given))
        raise UsageError(f"--shape {wanted} does not fit input '{info.name}', {declared}")
    if np.prod(given, dtype=float) * 8 > MOST_BYTES:
        raise UsageError(f"input '{info.name}' of shape {given} is too large to be made up")
    return given
