"""The machine: what the system tells, and None for all that it does not."""

from __future__ import annotations

import json
import platform
from pathlib import Path

from runtime_bench.machine.description import describe_machine, package_version


def write(root: Path, path: str, text: str) -> None:
    """Write one file of a made-up system."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_a_raspberry_pi_is_described(tmp_path: Path) -> None:
    """Model, processor, governor, frequency and temperature come from the kernel's files."""
    write(tmp_path, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    write(tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel name\t: Cortex-A76\n")
    folder = "sys/devices/system/cpu/cpu0/cpufreq"
    write(tmp_path, f"{folder}/scaling_governor", "ondemand\n")
    write(tmp_path, f"{folder}/scaling_cur_freq", "1500000\n")
    write(tmp_path, f"{folder}/cpuinfo_max_freq", "2400000\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/type", "rp1_adc\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "99000\n")
    write(tmp_path, "sys/class/thermal/thermal_zone1/type", "cpu-thermal\n")
    write(tmp_path, "sys/class/thermal/thermal_zone1/temp", "51234\n")
    write(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n")
    write(tmp_path, "etc/os-release", 'NAME=x\nPRETTY_NAME="Debian GNU/Linux 12"\n')

    machine = describe_machine(root=tmp_path)

    assert {
        "device": "Raspberry Pi 5 Model B Rev 1.0",
        "cpu": "Cortex-A76",
        "governor": "ondemand",
        "frequency_hz": 1_500_000_000,
        "frequency_max_hz": 2_400_000_000,
        "temperature_c": 51.234,
        "throttled": "50000",
        "os": "Debian GNU/Linux 12",
    }.items() <= machine.items()


def test_what_is_not_told_is_none(tmp_path: Path) -> None:
    """An empty system has no figures; none is made up."""
    machine = describe_machine(root=tmp_path)

    for key in ("device", "cpu", "governor", "frequency_hz", "temperature_c", "throttled"):
        assert machine[key] is None


def test_files_that_are_garbage_are_none(tmp_path: Path) -> None:
    """A frequency or temperature that is no number is unknown."""
    write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "<unknown>\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "\n")

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
