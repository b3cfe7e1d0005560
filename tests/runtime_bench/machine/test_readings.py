"""Readings of a Raspberry Pi and of a Jetson, from their kernels' files; unknown is None."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import pytest

from runtime_bench.machine.readings import raspberry_flags, read_state
from tests.runtime_bench.machine.made_up import CPU, JETSON, RASPBERRY_PI, make


def test_a_raspberry_pi_tells_its_state(tmp_path: Path) -> None:
    """Clock, heat, why it is slow, the quota, and what else it did."""
    reading = read_state(1.5, root=make(tmp_path, RASPBERRY_PI))

    assert reading.at_s == 1.5
    assert reading.frequency_hz == 1_950_000_000  # the mean of both processors
    assert reading.temperature_c == 81.234
    assert reading.throttling == ("under-voltage", "throttled")
    assert reading.throttled_since_start == ("under-voltage", "throttled")
    assert reading.quota_stops == 4
    assert reading.memory_available_bytes == 6_000_000 * 1024
    assert reading.power_w is None
    assert reading.energy_j is None
    ticks = os.sysconf("SC_CLK_TCK")
    assert reading.stolen_s == 11 / ticks
    own = os.times()
    assert reading.others_s == pytest.approx(1260 / ticks - own.user - own.system, abs=1.0)


def test_a_jetson_tells_its_state(tmp_path: Path) -> None:
    """The rails are added up, a channel that is not connected stays out."""
    reading = read_state(0.0, root=make(tmp_path, JETSON))

    assert reading.power_w == pytest.approx(19 * 0.2 + 19 * 0.1 + 5 * 1.0)
    assert reading.throttle_events == 17
    assert reading.throttling == ("slowed down by heat",)
    assert reading.throttled_since_start is None
    assert reading.temperature_c == 46.5


def test_a_meter_of_the_whole_input_stands_alone(tmp_path: Path) -> None:
    """On modules with VDD_IN, the other rails are parts of it."""
    make(tmp_path, {**JETSON, "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n"})

    assert read_state(0.0, root=tmp_path).power_w == pytest.approx(19 * 0.2)


def test_counters_of_packages_are_joules(tmp_path: Path) -> None:
    """RAPL counts microjoules; the parts of a package are in it already."""
    make(
        tmp_path,
        {
            "sys/class/powercap/intel-rapl:0/name": "package-0\n",
            "sys/class/powercap/intel-rapl:0/energy_uj": "2500000\n",
            "sys/class/powercap/intel-rapl:1/name": "package-1\n",
            "sys/class/powercap/intel-rapl:1/energy_uj": "500000\n",
            "sys/class/powercap/intel-rapl:0:0/name": "core\n",
            "sys/class/powercap/intel-rapl:0:0/energy_uj": "999\n",
            f"{CPU}/cpu0/thermal_throttle/package_throttle_count": "3\n",
        },
    )

    reading = read_state(0.0, root=tmp_path)

    assert reading.energy_j == pytest.approx(3.0)
    assert reading.throttle_events == 3


def test_an_empty_system_tells_nothing(tmp_path: Path) -> None:
    """Everything but the time is None; no figure is made up."""
    told = asdict(read_state(0.0, root=tmp_path))

    assert {key for key, value in told.items() if value is not None} == {"at_s"}


@pytest.mark.parametrize("path", sorted(RASPBERRY_PI | JETSON))
@pytest.mark.parametrize("text", ["", "<unknown>\n", "-\n", "9" * 400])
def test_garbage_in_a_file_is_never_an_error(tmp_path: Path, path: str, text: str) -> None:
    """Whatever a driver writes, the other readings stay."""
    make(tmp_path, {**RASPBERRY_PI, **JETSON, path: text})

    assert read_state(0.0, root=tmp_path).at_s == 0.0


@pytest.mark.parametrize(
    ("bits", "now", "since"),
    [
        ("0", (), ()),
        ("0x8", ("soft temperature limit",), ()),
        ("20000", (), ("frequency capped",)),
        ("none", None, None),
    ],
)
def test_the_flags_of_a_raspberry_pi(
    tmp_path: Path, bits: str, now: tuple[str, ...] | None, since: tuple[str, ...] | None
) -> None:
    """Low bits are of this moment, high ones of the time since it started."""
    make(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": f"{bits}\n"})

    assert raspberry_flags(tmp_path) == now
    assert raspberry_flags(tmp_path, since_start=True) == since
