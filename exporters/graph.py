"""From a module to the graph that ships: export, simplify, rewrite.

What `build_artifact` writes and what a plan times is the same graph, made here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from torch import nn

from exporters.onnx_export import export_raw
from exporters.passes import run_passes
from exporters.probes import Image
from exporters.simplify import simplify
from exporters.strip import strip_origin


@dataclass(frozen=True)
class Graph:
    """A finished graph with a raw output, and how it was made.

    Attributes:
        model: One input "images", one output "output0".
        simplifier: The tool that simplified it, or "none".
        rewrites: How many places each of our own rewrites changed.
    """

    model: onnx.ModelProto
    simplifier: str
    rewrites: dict[str, int]


def build_graph(
    module: nn.Module, *, size: tuple[int, int], probes: Mapping[str, Image]
) -> Graph:
    """Return the graph of `module` for pictures of one size, as small as it can be exactly.

    Args:
        module: Maps (1, 3, height, width) to (1, 4 + classes, anchors); it is not changed.
        size: Height and width in pixels.
        probes: Inputs on which a simplified graph must agree with the exported one.

    Raises:
        EdgeError: If the module cannot be exported.
    """
    simplified = simplify(export_raw(module, size=size), probes)
    model, rewrites = run_passes(simplified.model)
    strip_origin(model)
    onnx.checker.check_model(model, full_check=True)
    return Graph(model, simplified.tool, rewrites)
