"""The inputs on which two models must agree: real pictures, and three that are not.

A blank picture has no detections and a noisy one has odd ones: simplifiers have broken
graphs in ways that only one of them shows.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.preprocess import prepare

Image = NDArray[np.float32]
_SEED = 0


def make_probes(pictures: Sequence[NDArray[np.uint8]], spec: InputSpec) -> dict[str, Image]:
    """Return inputs of shape (1, 3, height, width), by a name for messages.

    Args:
        pictures: Real ones: (H, W, 3), RGB.
        spec: What the model takes in.
    """
    shape = (1, 3, *spec.size)
    probes = {
        f"picture {number}": prepare(picture, spec)[0][None]
        for number, picture in enumerate(pictures, start=1)
    }
    grey = np.array(spec.pad_colour)[:, None, None] * spec.scale
    made_up = {
        "blank": np.zeros(shape, np.float32),
        "grey": np.broadcast_to(grey, shape).astype(np.float32),
        "noise": np.random.default_rng(_SEED).random(shape, np.float32),
    }
    return probes | {name: _normalised(values, spec) for name, values in made_up.items()}


def _normalised(values: Image, spec: InputSpec) -> Image:
    """Return values (1, 3, height, width) in [0, 1] as the model wants them."""
    mean, std = (np.array(three, np.float32)[:, None, None] for three in (spec.mean, spec.std))
    result: Image = (values - mean) / std
    return result
