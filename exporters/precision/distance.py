"""How far do the raw outputs of two graphs lie apart, where an object is seen?

Of a classifier: how far its scores do.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from exporters.probes import Image
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings

Raw = NDArray[np.float32]
_BOX_ROWS = 4


def raw_outputs(model: onnx.ModelProto, images: Sequence[Image]) -> list[Raw]:
    """Return the one output (4 + classes, anchors) or (classes,) of a graph for each image."""
    session = open_session(model.SerializeToString(), SessionSettings(threads=1))
    name = session.outputs[0].name
    return [np.asarray(session.run(image)[name], np.float32)[0] for image in images]


def distance(wanted: Sequence[Raw], outputs: Sequence[Raw]) -> float:
    """Return the mean over pictures of how far the outputs moved; 0 where nothing moved.

    A score counts by its change, weighted with the greater one of the two; a box by the overlap
    that it lacks, weighted with the highest score wanted there. Both are by object: divided by
    the sum of the highest scores. So what nobody would look at may move.

    Args:
        wanted: (4 + classes, anchors) for each picture: centre, size, and scores in [0, 1]; or
            (classes,), of which the mean is of half the absolute differences: what share of the
            whole went to other classes (total variation).
        outputs: The same of the other graph. What is no number is infinitely far.
    """
    return float(np.mean([_of_picture(*pair) for pair in zip(wanted, outputs, strict=True)]))


def _of_picture(wanted: Raw, output: Raw) -> float:
    if not np.isfinite(output).all():
        return float("inf")
    if wanted.ndim == 1:
        return float(np.abs(wanted - output).sum() / 2)
    scores, other = wanted[_BOX_ROWS:], output[_BOX_ROWS:]
    weights = scores.max(axis=0)
    moved = float((np.maximum(scores, other) * np.abs(scores - other)).sum())
    missed = float((weights * (1 - _overlaps(wanted[:_BOX_ROWS], output[:_BOX_ROWS]))).sum())
    return (moved + missed) / (1.0 + float(weights.sum()))


def _overlaps(a: Raw, b: Raw) -> Raw:
    """Return (N,), the intersection over union of boxes (4, N) in pairs, as centre and size."""
    least = np.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
    most = np.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
    both = np.clip(most - least, 0, None).prod(axis=0)
    either = a[2:].prod(axis=0) + b[2:].prod(axis=0) - both
    overlaps: Raw = np.minimum(both / np.maximum(either, 1e-9), 1)
    return overlaps
