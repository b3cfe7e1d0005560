"""How far do the raw outputs of two graphs lie apart, where an object is seen?

Of a classifier: how far its scores do.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from exporters.probes import Image
from exporters.raw_layout import YOLO, boxes_of, put_alike, scores_of
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings

Raw = NDArray[np.float32]


def raw_outputs(model: onnx.ModelProto, images: Sequence[Image]) -> list[Raw]:
    """Return the one raw output of a graph, without its first axis, for each image."""
    session = open_session(model.SerializeToString(), SessionSettings(threads=1))
    name = session.outputs[0].name
    return [np.asarray(session.run(image)[name], np.float32)[0] for image in images]


def distance(wanted: Sequence[Raw], outputs: Sequence[Raw], *, decoder: str = YOLO) -> float:
    """Return the mean over pictures of how far the outputs moved; 0 where nothing moved.

    A score counts by its change, weighted with the greater one of the two; a box by the overlap
    that it lacks, weighted with the highest score wanted there. Both are by object: divided by
    the sum of the highest scores. So what nobody would look at may move.

    Args:
        wanted: The raw output for each picture, places in pixels and scores in [0, 1]; or the
            scores (classes,), of which the mean is of half the absolute differences: what share
            of the whole went to other classes (total variation).
        outputs: The same of the other graph. What is no number is infinitely far.
        decoder: What reads a raw output.
    """
    pairs = zip(wanted, outputs, strict=True)
    return float(np.mean([_of_picture(*pair, decoder) for pair in pairs]))


def _of_picture(wanted: Raw, output: Raw, decoder: str) -> float:
    if not np.isfinite(output).all():
        return float("inf")
    if wanted.ndim == 1:
        return float(np.abs(wanted - output).sum() / 2)
    output = put_alike(decoder, wanted, output)
    scores, other = scores_of(decoder, wanted), scores_of(decoder, output)
    weights, best = scores.max(axis=0), scores.argmax(axis=0)
    moved = float((np.maximum(scores, other) * np.abs(scores - other)).sum())
    sides = [_boxes_of_best(decoder, raw, best) for raw in (wanted, output)]
    missed = float((weights * (1 - _overlaps(*sides))).sum())
    return (moved + missed) / (1.0 + float(weights.sum()))


def _boxes_of_best(decoder: str, raw: Raw, best: NDArray[np.int64]) -> Raw:
    """Return the box (K, 4) of each candidate, where it has several that of a class."""
    if decoder == YOLO:
        return boxes_of(decoder, raw, 0)
    boxes = np.empty((raw.shape[1], 4), np.float32)
    for label in np.unique(best):
        here = best == label
        boxes[here] = boxes_of(decoder, raw, int(label))[here]
    return boxes


def _overlaps(a: Raw, b: Raw) -> Raw:
    """Return (K,), the intersection over union of boxes (K, 4) in pairs, ltrb."""
    least, most = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    both = np.clip(most - least, 0, None).prod(axis=1)
    areas = [(one[:, 2:] - one[:, :2]).prod(axis=1) for one in (a, b)]
    overlaps: Raw = np.minimum(both / np.maximum(areas[0] + areas[1] - both, 1e-9), 1)
    return overlaps
