"""The machine: what the system tells, and None for all that it does not."""

from __future__ import annotations

import json
import platform
from pathlib import Path

from runtime_bench.machine.description import describe_machine, package_version
from tests.runtime_bench.machine.made_up import JETSON, RASPBERRY_PI, make


def test_a_raspberry_pi_is_described(tmp_path: Path) -> None:
    """Model, processor, governor, frequency and temperature come from the kernel's files."""
    machine = describe_machine(root=make(tmp_path, RASPBERRY_PI))

    assert {
        "device": "Raspberry Pi 5 Model B Rev 1.0",
        "cpu": "Cortex-A76",
        "governor": "ondemand",
        "frequency_hz": 1_950_000_000,
        "frequency_max_hz": 2_400_000_000,
        "temperature_c": 81.234,
        "throttled": ("under-voltage", "throttled"),
        "memory_limit_bytes": 2_147_483_648,
        "power_mode": None,
        "os": "Debian GNU/Linux 12",
    }.items() <= machine.items()


def test_a_jetson_is_described(tmp_path: Path) -> None:
    """Its power mode has a name; without a list of them, the number stands for it."""
    make(tmp_path, JETSON)

    machine = describe_machine(root=tmp_path)

    assert machine["device"] == "Jetson AGX Orin"
    assert machine["cpu"] == "Cortex-A78AE"
    assert machine["power_mode"] == "MODE_30W"
    (tmp_path / "etc/nvpmodel.conf").unlink()
    assert describe_machine(root=tmp_path)["power_mode"] == "2"


def test_a_control_group_without_a_limit_has_none(tmp_path: Path) -> None:
    """Version 2 says "max", version 1 a number that no machine has."""
    for path, text in (
        ("memory.max", "max"),
        ("memory/memory.limit_in_bytes", str(2**63 - 4096)),
    ):
        make(tmp_path, {f"sys/fs/cgroup/{path}": text})

    assert describe_machine(root=tmp_path)["memory_limit_bytes"] is None


def test_what_is_not_told_is_none(tmp_path: Path) -> None:
    """An empty system has no figures; none is made up."""
    machine = describe_machine(root=tmp_path)

    for key in ("device", "cpu", "governor", "frequency_hz", "temperature_c", "throttled"):
        assert machine[key] is None


def test_files_that_are_garbage_are_none(tmp_path: Path) -> None:
    """A frequency or temperature that is no number is unknown."""
    make(tmp_path, {"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "<unknown>\n"})
    make(tmp_path, {"sys/class/thermal/thermal_zone0/type": "cpu-thermal\n"})
    make(tmp_path, {"sys/class/thermal/thermal_zone0/temp": "\n"})

    machine = describe_machine(root=tmp_path)

    assert machine["frequency_hz"] is None
    assert machine["temperature_c"] is None


def test_this_machine_is_json_without_its_name() -> None:
    """The description can be written as it is, and does not name the machine."""
    text = json.dumps(describe_machine(), allow_nan=False)

    assert platform.python_version() in text
    assert f'"{platform.node()}"' not in text


def test_versions_are_read_without_importing() -> None:
    """An installed package has its version, another one None."""
    assert package_version("numpy")
    assert package_version("no-package-of-this-name") is None
