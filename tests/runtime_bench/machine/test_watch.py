"""Watching a machine: not too often, and joules from counters or from a meter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtime_bench.machine.watch import Watch, energy_j
from tests.runtime_bench.bench.test_result import READING
from tests.runtime_bench.machine.made_up import RASPBERRY_PI, make


def test_a_glance_is_rare(tmp_path: Path) -> None:
    """It reads again only when the last reading is old; a look always does."""
    now_s = [100.0]
    watch = Watch(make(tmp_path, RASPBERRY_PI), clock=lambda: now_s[0], every_s=2.0)

    for passed_s in (0.0, 0.5, 1.9, 2.0, 2.1, 4.5):
        now_s[0] = 100.0 + passed_s
        watch.glance()
    now_s[0] = 104.6
    watch.look()

    assert [reading.at_s for reading in watch.readings] == pytest.approx([0.0, 2.0, 4.5, 4.6])
    assert all(reading.temperature_c == 81.234 for reading in watch.readings)


def test_joules_from_counters() -> None:
    """What they grew by."""
    readings = [replace(READING, at_s=at_s, energy_j=10.0 + at_s) for at_s in (0.0, 1.0, 4.0)]

    assert energy_j(readings) == pytest.approx(4.0)


def test_a_counter_that_began_anew_tells_nothing() -> None:
    """It overflows every few minutes on a busy server; guessing by how much would be wrong."""
    readings = [replace(READING, at_s=i, energy_j=e) for i, e in enumerate((10.0, 12.0, 1.0))]

    assert energy_j(readings) is None


def test_joules_from_a_meter() -> None:
    """Watts over time: 4 W falling to 2 W in a second, then 2 W for two more."""
    readings = [
        replace(READING, at_s=at_s, power_w=power_w)
        for at_s, power_w in ((0.0, 4.0), (1.0, 2.0), (3.0, 2.0))
    ]

    assert energy_j(readings) == pytest.approx(3.0 + 4.0)


def test_no_meter_no_joules() -> None:
    """One reading is no stretch of time, and no meter is none."""
    assert energy_j([READING]) is None
    assert energy_j([replace(READING, power_w=None)] * 3) is None
