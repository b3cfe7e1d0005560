"""What counts as the same point."""

from __future__ import annotations

from typing import Any

import pytest

from xprune.frontier.recheck import compare

POINT: dict[str, Any] = {
    "ap": 0.28,
    "ap_interval": [0.25, 0.31],
    "latency_ratio": 0.8,
    "sha256": "a" * 64,
    "imgsz": [320, 320],
    "precision": "float32",
    "plan": [["model.2", "linear"]],
}


def agrees(**changed: Any) -> bool:
    """Whether a point and its changed copy agree."""
    return all(check.agrees for check in compare(POINT, {**POINT, **changed}))


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"ap": 0.26, "sha256": "b" * 64}, True),
        ({"ap": 0.24}, False),
        ({"ap": 0.32}, False),
        ({"latency_ratio": 0.82}, True),
        ({"latency_ratio": 0.83}, False),
        ({"latency_ratio": 0.77}, False),
    ],
)
def test_ap_in_its_interval_and_latency_within_three_per_cent(
    changed: dict[str, Any], same: bool
) -> None:
    """Plans follow measured times, so another plan may be found; its figures must fit."""
    assert agrees(**changed) is same


def test_another_plan_is_told() -> None:
    """The words say whether file and plan are the same."""
    checks = compare(POINT, {**POINT, "sha256": "b" * 64, "plan": []})

    assert "another file, another plan" in checks[-1].here


def test_what_could_not_be_made_here_differs() -> None:
    """An error there and the same error here agree."""
    assert not all(check.agrees for check in compare(POINT, {"error": "out of reach"}))
    assert not all(check.agrees for check in compare(POINT, None))
    assert all(check.agrees for check in compare({"error": "no"}, {"error": "no"}))
