"""Exact rewrites that make what pruning left behind cost nothing.

A rewrite has three parts, as in onnx/ir-py: `requires` says whether it may run on a graph,
`call` changes the graph in place and tells at how many places, and `ensures` says whether
the graph is now as promised. What all outputs of the graph are stays the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from exporters.passes.drop_split_concat import find_split_concat
from exporters.passes.fold_affine import find_affine
from exporters.passes.max_to_clip import find_max
from exporters.passes.merge_convolutions import find_convolutions
from exporters.passes.merge_into_concat import find_concat

_MIN_OPSET = 13  # Split takes its sizes as an input from here on


@dataclass(frozen=True)
class Rewrite:
    """One rewrite.

    Attributes:
        find: Returns the edit to make at the first place that allows it, or None.
        least_opset: From which version on the operators are those that it knows.
    """

    find: Callable[[ir.Model], Callable[[], None] | None]
    least_opset: int = _MIN_OPSET

    def requires(self, model: ir.Model) -> bool:
        """Return whether the operators of `model` mean what the rewrites take them to mean."""
        return model.opset_imports.get("", 0) >= self.least_opset and not model.functions

    def call(self, model: ir.Model) -> int:
        """Edit until no place is left, and return the number of places.

        Each edit takes a node, a part of a Concat or a maximum away, so this ends.
        """
        count = 0
        while (edit := self.find(model)) is not None:
            edit()
            count += 1
        return count

    def ensures(self, model: ir.Model) -> bool:
        """Return whether no place is left, and every node comes after what it reads."""
        order = {node: index for index, node in enumerate(model.graph)}
        sorted_ = all(order[p] < order[node] for node in order for p in node.predecessors())
        return sorted_ and self.find(model) is None


PASSES: dict[str, Rewrite] = {
    "max_to_clip": Rewrite(find_max),
    "fold_affine": Rewrite(find_affine),
    "merge_convolutions": Rewrite(find_convolutions),
    "merge_into_concat": Rewrite(find_concat),
    "drop_split_concat": Rewrite(find_split_concat),
}


def run_passes(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Run all rewrites until none finds a place, and return a new graph and their counts.

    Nodes and values that stay keep their names. Rewrites that found no place are not counted.
    """
    graph = ir.from_proto(model)
    counts = dict.fromkeys(PASSES, 0)
    changed = True
    while changed:
        changed = False
        for name, rewrite in PASSES.items():
            if not rewrite.requires(graph):
                continue
            places = rewrite.call(graph)
            assert rewrite.ensures(graph), f"{name} left something to do"
            counts[name] += places
            changed = changed or places > 0
    return ir.to_proto(graph), {name: count for name, count in counts.items() if count}
