"""Doubts: each is raised by what it speaks of, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from runtime_bench.bench.doubts import doubts_of
from runtime_bench.machine.readings import Reading
from runtime_bench.timing.latency import LatencySamples

CALM = Reading(
    at_s=0.0,
    frequency_hz=2_400_000_000,
    temperature_c=50.0,
    throttling=(),
    throttled_since_start=("under-voltage",),
    throttle_events=3,
    quota_stops=7,
    power_w=None,
    energy_j=None,
    others_s=1000.0,
    stolen_s=10.0,
    memory_available_bytes=4_000_000_000,
)
MACHINE: dict[str, object] = {
    "governor": "performance",
    "cores_available": 4,
    "memory_total_bytes": 8_000_000_000,
}
STEADY = LatencySamples(
    (0.02,) * 10, tuple(np.random.default_rng(0).normal(0.02, 1e-4, 150).tolist())
)


def whats(
    last: dict[str, Any] | None = None,
    *,
    latency: LatencySamples = STEADY,
    machine: dict[str, object] | None = None,
    threads: int = 4,
) -> list[str]:
    """Return the doubts of a calm measurement of ten seconds, but for what is given."""
    readings = [CALM, replace(CALM, at_s=5.0), replace(CALM, at_s=10.0, **(last or {}))]
    found = doubts_of(
        latency, readings, machine={**MACHINE, **(machine or {})}, threads=threads
    )
    assert all(doubt.hint for doubt in found)
    return [doubt.what for doubt in found]


def test_a_calm_measurement_has_none() -> None:
    """Also where the board was short of voltage before: that was not now."""
    assert whats() == []


def test_what_is_not_known_is_no_doubt() -> None:
    """A kernel that tells nothing raises none."""
    nothing = Reading(0.0, *[None] * 11)

    assert doubts_of(STEADY, [nothing, replace(nothing, at_s=9.0)], machine={}, threads=4) == ()


@pytest.mark.parametrize(
    ("last", "what"),
    [
        ({"throttling": ("throttled",)}, "slowed down while it measured: throttled"),
        (
            {"throttled_since_start": ("under-voltage", "frequency capped")},
            "slowed down while it measured: frequency capped",
        ),
        ({"throttle_events": 5}, "over-current or heat stepped in 2 times"),
        ({"quota_stops": 9}, "the container's quota stopped it 2 times"),
        ({"temperature_c": 71.0}, "it warmed up from 50 to 71 degrees Celsius"),
        ({"frequency_hz": 1_500_000_000}, "its clock fell from 2.40 to 1.50 GHz"),
        ({"others_s": 1015.0}, "other processes used 1.5 processors meanwhile"),
        ({"stolen_s": 10.5}, "the host took 5% of a processor for others"),
        ({"memory_available_bytes": 100_000_000}, "only 100 MB of memory are left"),
    ],
)
def test_the_machine_raises_doubts(last: dict[str, Any], what: str) -> None:
    """Each state of the machine alone."""
    assert whats(last) == [what]


@pytest.mark.parametrize(
    ("latency", "what"),
    [
        (LatencySamples((0.02,) * 10, (0.02,) * 12), "only 12 runs were timed"),
        (LatencySamples((0.03,) * 5 + (0.02,) * 5, (0.02,) * 90), "times had not settled"),
        (
            LatencySamples((0.02,) * 10, (0.02,) * 50 + (0.021,) * 50),
            "it became 5% slower from the first third to the last",
        ),
        (
            LatencySamples((0.02,) * 10, (0.02, 0.023, 0.026) * 40),
            "times spread by 13% around the median",
        ),
    ],
)
def test_times_raise_doubts(latency: LatencySamples, what: str) -> None:
    """Too few, not settled, drifting, or spread."""
    (found,) = whats(latency=latency)

    assert found.startswith(what)


def test_the_setting_raises_doubts() -> None:
    """A governor that changes clocks, and more threads than processors."""
    (governor,) = whats(machine={"governor": "ondemand"})
    assert governor == "the governor is ondemand: clocks change while it measures"
    assert whats(threads=8) == ["8 threads share 4 processors"]
