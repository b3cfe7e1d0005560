"""What is to be said of a network that only a test knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exporters.card import ModelCard
from runtime_bench.artifact.manifest import Manifest, OutputSpec


def yolo_card(classes: Sequence[str] | int) -> ModelCard:
    """Return the card of a YOLO with these classes, or with so many."""
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
    return ModelCard("tiny", "yolo", "Apache-2.0", names, stride=32)


def raw_manifest(
    size: tuple[int, int], classes: Sequence[str] | int, **limits: Any
) -> Manifest:
    """Return what the raw outputs of such a YOLO mean, for inputs of `size`."""
    card = yolo_card(classes)
    return card.manifest(size, card.raw_output(OutputSpec(**limits)))
