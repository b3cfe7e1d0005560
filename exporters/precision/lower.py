"""A finished float graph in the precision that was asked for, by name."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx

from exporters.precision.half import to_float16
from exporters.precision.int8 import Recipe, to_int8
from exporters.probes import Image
from runtime_bench.artifact.manifest import PRECISIONS

FLOAT32, INT8, FLOAT16 = PRECISIONS
# Rewrites that win time of convolutions in float; in 8 bits they would spoil what they compute.
FLOAT_ONLY = ("winograd_large", "winograd_small")


@dataclass(frozen=True)
class Lowering:
    """How a graph is brought to its precision.

    Attributes:
        precision: One of `PRECISIONS`.
        images: Inputs (1, 3, height, width) to calibrate int8 on.
        recipe: How int8 is made.
        quick: For timing alone: a graph as fast, calibrated on one picture.
        quiet: Show no progress.
    """

    precision: str = FLOAT32
    images: Sequence[Image] = ()
    recipe: Recipe = field(default_factory=Recipe)
    quick: bool = False
    quiet: bool = False

    def __call__(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Return the graph in this precision; see `lowered`."""
        return self.lowered(model)[0]

    def lowered(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, object]]:
        """Return a graph in this precision, and what is to be said of how it was made.

        Args:
            model: A finished graph in float32; it is not changed.

        Raises:
            EdgeError: If it has nothing that could be brought there.
        """
        if self.precision == FLOAT32:
            return model, {}
        if self.precision == FLOAT16:
            return to_float16(model), {}
        assert self.precision == INT8, self.precision
        made = to_int8(model, self.images, self.recipe, quick=self.quick, quiet=self.quiet)
        return made.model, {
            "convolutions_in_int8": made.convolutions,
            "layers_in_float": list(made.places.in_float),
            "calibration": self.recipe.method,
            "calibration_pictures": len(self.images),
            "activations": self.recipe.activation,
            "weights": "int8, a scale for each channel"
            + (", 7 bits" if self.recipe.reduce_range else ""),
        }
