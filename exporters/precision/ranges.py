"""From which value to which do the 256 steps of a tensor go?

The values are seen on pictures and kept as a histogram; a method picks the range. What lies
outside is clipped, and what lies inside is the coarser the wider the range is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from exporters.precision.places import Places
from exporters.probes import Image
from runtime_bench.progress import track
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings

BINS = 2048
STEPS = 255  # between the least and the greatest value of 8 bits
Range = tuple[float, float]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """The values of one tensor on the pictures.

    Attributes:
        low: The least value, 0 where none is below.
        high: The greatest value, 0 where none is above.
        counts: How many fell into each of the equal bins from `low` to `high`; none are
            counted where only the range was looked at.
    """

    low: float
    high: float
    counts: NDArray[np.int64]

    @property
    def centres(self) -> Values:
        """The middle of each bin."""
        width = (self.high - self.low) / len(self.counts)
        middles = np.arange(len(self.counts), dtype=np.float64) + 0.5
        centres: Values = self.low + middles * width
        return centres


Method = Callable[[Seen, str | None], Range]


def observe(
    model: onnx.ModelProto,
    images: Sequence[Image],
    tensors: Sequence[str],
    *,
    counted: bool = True,
    quiet: bool = False,
) -> dict[str, Seen]:
    """Return what values some tensors of a graph take.

    Args:
        model: A finished graph with one input.
        images: Inputs (1, 3, height, width).
        tensors: Names of float values, perhaps the input itself.
        counted: Whether to count the values, in a second pass, or to note their range alone.
        quiet: Show no progress.
    """
    session = open_session(_with_outputs(model, tensors), SessionSettings(threads=1))
    start = model.graph.input[0].name

    def values(image: Image) -> dict[str, NDArray[np.float32]]:
        answer = session.run(image) | {start: image}
        return {name: np.asarray(answer[name], np.float32) for name in tensors}

    low, high = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0.0)
    for image in track(images, label="Looking at values", quiet=quiet):
        for name, array in values(image).items():
            finite = np.nan_to_num(array)
            low[name] = min(low[name], float(finite.min(initial=0.0)))
            high[name] = max(high[name], float(finite.max(initial=0.0)))
    counts = {name: np.zeros(BINS if counted else 0, np.int64) for name in tensors}
    for image in track(images if counted else (), label="Counting values", quiet=quiet):
        for name, array in values(image).items():
            counts[name] += _count(array, low[name], high[name])
    return {name: Seen(low[name], high[name], counts[name]) for name in tensors}


def _with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> bytes:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    known = {output.name for output in shown.graph.output}
    known |= {value.name for value in shown.graph.input}
    shown.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in tensors if name not in known
    )
    content: bytes = onnx.shape_inference.infer_shapes(shown).SerializeToString()
    return content


def _count(array: NDArray[np.float32], low: float, high: float) -> NDArray[np.int64]:
    if high <= low:
        return np.zeros(BINS, np.int64)
    scaled = (np.nan_to_num(array.ravel()) - low) * (BINS / (high - low))
    return np.bincount(np.clip(scaled.astype(np.int32), 0, BINS - 1), minlength=BINS)


def whole_range(seen: Seen, activation: str | None = None) -> Range:
    """Return the least and the greatest value ("min-max")."""
    return seen.low, seen.high


def percentile(seen: Seen, activation: str | None = None, share: float = 0.9999) -> Range:
    """Return what holds a share of all values, as much left out on each side."""
    total = int(seen.counts.sum())
    if not total:
        return seen.low, seen.high
    below = np.cumsum(seen.counts) / total
    tail = (1 - share) / 2
    width = (seen.high - seen.low) / BINS
    first = int(np.searchsorted(below, tail, side="right"))
    last = int(np.searchsorted(below, 1 - tail, side="left"))
    return min(0.0, seen.low + first * width), max(0.0, seen.low + (last + 1) * width)


def least_error(seen: Seen, activation: str | None = None) -> Range:
    """Return the range with the least mean squared error of what follows.

    Where a value goes into an activation and nowhere else, the error is that of the activation:
    SiLU of anything below -8 is 0, so no step need be spent there.
    """
    if not seen.counts.any():
        return seen.low, seen.high
    follow = _ACTIVATIONS[activation]
    values = seen.centres
    exact, weights = follow(values), seen.counts / seen.counts.sum()

    def error(bounds: Range) -> float:
        return float((weights * (follow(rounded(values, bounds)) - exact) ** 2).sum())

    lows = {seen.low * share for share in np.linspace(0.1, 1.0, 19)}
    lows |= {-limit for limit in np.arange(3.0, 12.0, 0.5) if -limit > seen.low}
    highs = {seen.high * share for share in np.linspace(0.4, 1.0, 13)}
    bounds = [(float(low), float(high)) for low in lows for high in highs if high > low]
    return min(bounds, key=error, default=(seen.low, seen.high))


def rounded(values: Values, bounds: Range) -> Values:
    """Return what 256 steps over a range make of some values."""
    scale = (bounds[1] - bounds[0]) / STEPS
    zero = np.round(-bounds[0] / scale)
    steps: Values = np.clip(np.round(values / scale) + zero, 0, STEPS)
    result: Values = (steps - zero) * scale
    return result


def _same(values: Values) -> Values:
    return values


def _sigmoid(values: Values) -> Values:
    result: Values = 0.5 * (1 + np.tanh(values / 2))
    return result


def _silu(values: Values) -> Values:
    return values * _sigmoid(values)


_ACTIVATIONS: dict[str | None, Callable[[Values], Values]] = {
    None: _same,
    "sigmoid": _sigmoid,
    "silu": _silu,
}


def least_after_activation(seen: Seen, activation: str | None = None) -> Range:
    """Return the least error's range before an activation, and elsewhere the whole range."""
    return (least_error if activation else whole_range)(seen, activation)


METHODS: dict[str, Method] = {
    "minmax": whole_range,
    "percentile": percentile,
    "least_error": least_error,
    "minmax_least_error": least_after_activation,
}


def choose_ranges(seen: Mapping[str, Seen], places: Places, method: str) -> dict[str, Range]:
    """Return the range of every tensor; those that are only moved about share theirs.

    With one scale for all that is joined, onnxruntime copies bytes instead of looking each of
    them up in a table.

    Args:
        seen: From `observe`, for each of `places.tensors`.
        places: What becomes 8 bits.
        method: A key of `METHODS`.
    """
    pick = METHODS[method]
    ranges = {name: pick(seen[name], places.activations.get(name)) for name in places.tensors}
    for group in places.joined:
        shared = min(ranges[name][0] for name in group), max(ranges[name][1] for name in group)
        ranges |= dict.fromkeys(group, shared)
    return ranges
