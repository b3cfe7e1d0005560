"""What Torch-Pruning is told to leave alone, by architecture."""

from __future__ import annotations

import pytest

from tests.benchmarks.peers.channels import head_outputs_of
from xprune.models.load import load_detector

NAMES = ("a", "b")


@pytest.mark.parametrize(
    ("model", "channels"),
    [
        # Six maps: 6 boxes at each place, of a background and 2 classes, and of 4 sides.
        ("ssdlite320_mobilenet_v3_large", [18] * 6 + [24] * 6),
        ("retinanet:resnet18", [9 * 3, 9 * 4]),
        # What proposes regions comes first, 3 boxes at each place, then what judges them.
        ("fasterrcnn:resnet18", [3, 3 * 4, 3, 3 * 4]),
        ("resnet18", [2]),
    ],
)
def test_what_gives_scores_and_boxes_stays(model: str, channels: list[int]) -> None:
    """Else a pruned network would have fewer classes, or sides."""
    network = load_detector(model, weights="none", names=NAMES, seed=0).network

    found = [
        int(layer.out_channels if hasattr(layer, "out_channels") else layer.out_features)
        for layer in head_outputs_of(network)
    ]

    assert found == channels
