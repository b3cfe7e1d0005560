"""A float graph becomes one that computes in 8 bits, the way a recipe says."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from exporters.precision.places import Places, find_places
from exporters.precision.qdq import insert_pairs
from exporters.precision.ranges import choose_ranges, observe
from exporters.probes import Image
from runtime_bench.errors import EdgeError


@dataclass(frozen=True)
class Recipe:
    """How to bring a network to 8 bits; the same for all its plans.

    Attributes:
        method: How ranges are found, a key of `exporters.precision.ranges.METHODS`.
        activation: The type of what flows, "uint8" or "int8".
        reduce_range: Whether weights keep to 7 bits, since sums overflow here else.
        in_float: The layers whose convolutions, with their activations, stay in float.
    """

    method: str = "least_error"
    activation: str = "uint8"
    reduce_range: bool = False
    in_float: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quantized:
    """A graph in 8 bits.

    Attributes:
        model: With pairs of QuantizeLinear and DequantizeLinear.
        places: What of it computes in 8 bits.
    """

    model: onnx.ModelProto
    places: Places

    @property
    def convolutions(self) -> int:
        """How many convolutions compute in 8 bits."""
        return sum(len(names) for names in self.places.convolutions.values())


def to_int8(
    model: onnx.ModelProto,
    images: Sequence[Image],
    recipe: Recipe,
    *,
    quick: bool = False,
    quiet: bool = False,
) -> Quantized:
    """Return a graph with its convolutions, and what lies between them, in 8 bits.

    Args:
        model: A finished graph, rewritten and perhaps with NMS; it is not changed.
        images: Inputs (1, 3, height, width) to calibrate on.
        recipe: How.
        quick: Look at one picture and take its whole ranges: as fast a graph, and not as exact.
        quiet: Show no progress.

    Raises:
        EdgeError: If there is no picture, or no convolution that could compute in 8 bits.
    """
    if not images:
        raise EdgeError("int8 needs pictures to calibrate on; pass --calibration or --data")
    places = find_places(model, recipe.in_float)
    if not places.convolutions:
        raise EdgeError("no convolution is left to compute in int8; use --precision float32")
    seen = observe(
        model,
        images[:1] if quick else images,
        places.tensors,
        counted=not quick and recipe.method != "minmax",
        quiet=quiet or quick,
    )
    ranges = choose_ranges(seen, places, "minmax" if quick else recipe.method)
    quantized = insert_pairs(
        model,
        places,
        ranges,
        activation=recipe.activation,
        reduce_range=recipe.reduce_range,
    )
    return Quantized(quantized, places)
