"""What changes while a machine measures: clocks, heat, power, and what else it does.

Unknown is None, never a guess. Everything comes from files of the kernel, so that reading them
takes microseconds, and so that tests can make a Raspberry Pi or a Jetson up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime_bench.machine.cgroups import quota_stops
from runtime_bench.machine.kernel_files import ROOT, first_line, lines, number, whole_number

CPUS = Path("sys/devices/system/cpu")
THERMAL = Path("sys/class/thermal")
HWMON = Path("sys/class/hwmon")
POWERCAP = Path("sys/class/powercap")
RASPBERRY_FILE = Path("sys/devices/platform/soc/soc:firmware/get_throttled")
# The zones that speak of the processor, best first: x86, Raspberry Pi, Jetson, others.
CPU_ZONES = ("x86_pkg_temp", "cpu-thermal", "cpu_thermal", "CPU-therm", "soc_thermal")
# Drivers that slow a processor down when it is hot: a state above 0 says that they do.
COOLING = ("cpufreq", "thermal-cpufreq", "Processor", "cpu-throttle")
# The low bits say what is, the same 16 bits further what was since it started (Raspberry Pi
# documentation, vcgencmd get_throttled).
RASPBERRY_FLAGS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
SINCE_START = 16
# On boards with a meter for the whole input, the other ones measure parts of it.
WHOLE_INPUT = ("VDD_IN", "POM_5V_IN")
NO_RAIL = ("NC", "sum of shunt voltages")


@dataclass(frozen=True)
class Reading:
    """The state of a machine at one moment.

    Attributes:
        at_s: Seconds since the first reading.
        frequency_hz: The mean clock of the processors.
        temperature_c: Of the processor, in degrees Celsius.
        throttling: What slows the processor down at this moment, in words.
        throttled_since_start: What did so at some time since the machine was started.
        throttle_events: How often over-current or heat stepped in, since then.
        quota_stops: How often the control group's quota stopped it, since the group was made.
        power_w: What a meter on the board shows, in watts.
        energy_j: What counters of the processor show, in joules.
        others_s: Processor seconds that other processes used since the machine was started.
        stolen_s: Processor seconds that a host gave to others since then.
        memory_available_bytes: What is left.
    """

    at_s: float
    frequency_hz: int | None
    temperature_c: float | None
    throttling: tuple[str, ...] | None
    throttled_since_start: tuple[str, ...] | None
    throttle_events: int | None
    quota_stops: int | None
    power_w: float | None
    energy_j: float | None
    others_s: float | None
    stolen_s: float | None
    memory_available_bytes: int | None


def read_state(at_s: float, *, root: Path = ROOT) -> Reading:
    """Return the state of the machine now.

    Args:
        at_s: When that is.
        root: Where `proc` and `sys` are; tests pass a made-up tree.
    """
    now, before = raspberry_flags(root), raspberry_flags(root, since_start=True)
    cooling = _cooling(root)
    throttling = None if now is None and cooling is None else (*(now or ()), *(cooling or ()))
    busy_s, stolen_s = _processor_times(root)
    return Reading(
        at_s=at_s,
        frequency_hz=frequency_hz(root),
        temperature_c=temperature_c(root),
        throttling=throttling,
        throttled_since_start=before,
        throttle_events=_throttle_events(root),
        quota_stops=quota_stops(root),
        power_w=_power_w(root),
        energy_j=_energy_j(root),
        others_s=None if busy_s is None else busy_s - _own_s(),
        stolen_s=stolen_s,
        memory_available_bytes=memory_available(root),
    )


def frequency_hz(root: Path = ROOT, *, file: str = "scaling_cur_freq") -> int | None:
    """Return the mean over the processors of a frequency that the kernel tells in kilohertz."""
    files = (root / CPUS).glob(f"cpu[0-9]*/cpufreq/{file}")
    told = [khz * 1000 for path in files if (khz := number(path)) is not None and khz > 0]
    return round(sum(told) / len(told)) if told else None


def temperature_c(root: Path = ROOT) -> float | None:
    """Return the temperature of the processor in degrees Celsius."""
    zones: dict[str, Path] = {}
    for folder in sorted((root / THERMAL).glob("thermal_zone*")):
        kind = first_line(folder / "type")
        if kind is not None:
            zones.setdefault(kind, folder / "temp")
    for kind in CPU_ZONES:
        told = number(zones[kind]) if kind in zones else None
        if told is not None:
            return told / 1000
    return None


def raspberry_flags(root: Path = ROOT, *, since_start: bool = False) -> tuple[str, ...] | None:
    """Return why a Raspberry Pi is slowed down, or was since its start; () for not at all."""
    text = first_line(root / RASPBERRY_FILE)
    try:
        bits = int(text or "", base=16)
    except ValueError:
        return None
    offset = SINCE_START if since_start else 0
    return tuple(name for bit, name in RASPBERRY_FLAGS.items() if bits >> (bit + offset) & 1)


def _cooling(root: Path) -> tuple[str, ...] | None:
    states = [
        number(folder / "cur_state")
        for folder in (root / THERMAL).glob("cooling_device*")
        if (first_line(folder / "type") or "").startswith(COOLING)
    ]
    known = [state for state in states if state is not None]
    if not known:
        return None
    return ("slowed down by heat",) if any(state > 0 for state in known) else ()


def _throttle_events(root: Path) -> int | None:
    """Return the sum of a Jetson's over-current counters and those of x86 packages."""
    files = [
        *(
            path
            for folder in _sensors(root, "soctherm_oc")
            for path in folder.glob("oc*_event_cnt")
        ),
        *(root / CPUS).glob("cpu0/thermal_throttle/package_throttle_count"),
    ]
    known = [count for path in files if (count := number(path)) is not None]
    return sum(known) if known else None


def _power_w(root: Path) -> float | None:
    """Return what INA3221 meters show, as on a Jetson: of the whole input, or of all rails."""
    rails_w: dict[str, float] = {}
    for folder in _sensors(root, "ina3221"):
        for label_file in sorted(folder.glob("in[1-3]_label")):
            channel, label = label_file.name[2], first_line(label_file)
            volts, amperes = (
                number(folder / f"in{channel}_input"),
                number(folder / f"curr{channel}_input"),
            )
            if label not in (None, *NO_RAIL) and volts is not None and amperes is not None:
                rails_w[str(label)] = volts * amperes * 1e-6
    whole = [rails_w[name] for name in WHOLE_INPUT if name in rails_w]
    return whole[0] if whole else sum(rails_w.values()) if rails_w else None


def _energy_j(root: Path) -> float | None:
    """Return the sum of the counters of whole packages (RAPL); only root may read them."""
    packages = (
        folder
        for folder in (root / POWERCAP).glob("intel-rapl:*")
        if (first_line(folder / "name") or "").startswith("package")
    )
    told = [uj for folder in packages if (uj := number(folder / "energy_uj")) is not None]
    return sum(told) * 1e-6 if told else None


def _processor_times(root: Path) -> tuple[float | None, float | None]:
    """Return the seconds that all processors were busy, and those that a host took away."""
    words = (first_line(root / "proc/stat") or "").split()
    told = [count for word in words[1:9] if (count := whole_number(word)) is not None]
    if len(told) < 8 or words[0] != "cpu":
        return None, None
    user, nice, system, _, _, interrupts, soft_interrupts, stolen = told
    busy = user + nice + system + interrupts + soft_interrupts
    ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    return busy / ticks, stolen / ticks


def _own_s() -> float:
    times = os.times()
    return times.user + times.system


def memory_available(root: Path = ROOT) -> int | None:
    """Return the bytes of memory that are left."""
    for line in lines(root / "proc/meminfo"):
        name, _, amount = line.partition(":")
        kilobytes = whole_number(amount.strip().partition(" ")[0])
        if name == "MemAvailable" and kilobytes is not None:
            return kilobytes * 1024
    return None


def _sensors(root: Path, name: str) -> Iterator[Path]:
    """Yield the folders of the sensors that a driver of this name shows."""
    for folder in sorted((root / HWMON).glob("hwmon*")):
        if first_line(folder / "name") == name:
            yield folder
