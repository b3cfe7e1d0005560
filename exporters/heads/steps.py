"""Operators written down one after the other, named as those of a network are."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import onnx
from onnx import helper

# The operator, what it reads and what it makes, by name, and its attributes.
Step = tuple[str, list[str], list[str], dict[str, Any]]


def named_nodes(
    steps: Sequence[Step], *, path: str, outside: Collection[str]
) -> list[onnx.NodeProto]:
    """Return the nodes of some steps, called "<path>/<operator>", and their values alike.

    Args:
        steps: In the order in which they run.
        path: What their names begin with.
        outside: Names of the graph around them, which stay as they are.
    """
    seen: Counter[str] = Counter()
    nodes = []
    for kind, inputs, outputs, attributes in steps:
        suffix = f"_{seen[kind]}" if seen[kind] else ""
        seen[kind] += 1
        nodes.append(
            helper.make_node(
                kind,
                [name if name in outside else f"{path}/{name}" for name in inputs],
                [name if name in outside else f"{path}/{name}" for name in outputs],
                name=f"{path}/{kind}{suffix}",
                **attributes,
            )
        )
    return nodes
