"""From a module to the graph that ships: export, simplify, rewrite, end with NMS.

What `build_artifact` writes and what a plan times is the same graph, made here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx
from torch import nn

from exporters.card import RAW_OUTPUT, ModelCard
from exporters.heads import HEADS
from exporters.onnx_export import export_raw
from exporters.passes import run_passes
from exporters.probes import Image
from exporters.rewrites import run_rewrites
from exporters.simplify import simplify
from exporters.strip import strip_origin
from runtime_bench.artifact.manifest import OutputSpec


@dataclass(frozen=True)
class Graph:
    """A finished graph, and how it was made.

    Attributes:
        model: One input "images"; one output "output0" or "scores", or boxes, scores and
            labels.
        simplifier: The tool that simplified it, or "none".
        rewrites: How many places each of our own passes and rewrites changed.
    """

    model: onnx.ModelProto
    simplifier: str
    rewrites: dict[str, int]


def build_graph(
    module: nn.Module,
    *,
    size: tuple[int, int],
    probes: Mapping[str, Image],
    rewrites: Iterable[str] = (),
    output_name: str = RAW_OUTPUT,
) -> Graph:
    """Return the graph of `module` for pictures of one size, as small as it can be exactly.

    Args:
        module: Maps (1, 3, height, width) to (1, 4 + classes, anchors), or to scores
            (1, classes); it is not changed.
        size: Height and width in pixels.
        probes: Inputs on which a simplified graph must agree with the exported one.
        rewrites: Keys of `exporters.rewrites.REWRITES`, to run last.
        output_name: What the graph calls its output.

    Raises:
        EdgeError: If the module cannot be exported.
    """
    simplified = simplify(export_raw(module, size=size, output_name=output_name), probes)
    model, passes = run_passes(simplified.model)
    strip_origin(model)
    onnx.checker.check_model(model, full_check=True)
    return rewritten(Graph(model, simplified.tool, passes), rewrites)


def rewritten(graph: Graph, rewrites: Iterable[str]) -> Graph:
    """Return `graph` with some of `exporters.rewrites.REWRITES` run on it."""
    model, places = run_rewrites(graph.model, rewrites)
    return Graph(model, graph.simplifier, {**graph.rewrites, **places})


def finish_graph(
    graph: Graph,
    *,
    card: ModelCard,
    limits: OutputSpec,
    raw: bool = False,
    rewrites: Iterable[str] = (),
) -> Graph:
    """Return a raw graph as it ships: a detector's with NMS unless `raw`, and then rewritten.

    Args:
        graph: From `build_graph` without rewrites, since some need to see the whole end.
        card: What the model is.
        limits: Least score, overlap and number of boxes that NMS keeps to.
        raw: Whether to ship the raw head.
        rewrites: Keys of `exporters.rewrites.REWRITES`.
    """
    if raw or card.task == "classify":
        return rewritten(graph, rewrites)
    model = HEADS[card.decoder](
        graph.model,
        names_count=len(card.names),
        min_score=limits.min_score,
        iou=limits.iou,
        max_boxes=limits.max_boxes,
    )
    return rewritten(Graph(model, graph.simplifier, graph.rewrites), rewrites)
