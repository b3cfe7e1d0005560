"""Describe the machine that measures and its state; unknown is None, never a guess."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path

import psutil

from runtime_bench.machine.processors import available_threads

ROOT = Path("/")
CPU_FOLDER = Path("sys/devices/system/cpu/cpu0/cpufreq")
THERMAL_FOLDER = Path("sys/class/thermal")
THROTTLED_FILE = Path("sys/devices/platform/soc/soc:firmware/get_throttled")
# The zones that speak of the processor, best first: x86, Raspberry Pi, Jetson, others.
CPU_ZONES = ("x86_pkg_temp", "cpu-thermal", "cpu_thermal", "CPU-therm", "soc_thermal")
# onnxruntime comes under several names; they all install the module `onnxruntime`.
ONNXRUNTIME_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")


def describe_machine(*, root: Path = ROOT) -> dict[str, object]:
    """Return what a measurement should be read with: parts, state, and versions.

    Frequencies are in hertz, temperature in degrees Celsius, memory in bytes. The name of
    the machine is left out: it tells of a person, not of a measurement.

    Args:
        root: Where `proc` and `sys` are; tests pass a made-up tree.
    """
    memory = psutil.virtual_memory()
    return {
        "device": _first_line(root / "proc/device-tree/model"),
        "cpu": cpu_name(root),
        "architecture": platform.machine() or None,
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(logical=True),
        "cores_available": available_threads(),
        "governor": _first_line(root / CPU_FOLDER / "scaling_governor"),
        "frequency_hz": _kilo(root / CPU_FOLDER / "scaling_cur_freq"),
        "frequency_max_hz": _kilo(root / CPU_FOLDER / "cpuinfo_max_freq"),
        "temperature_c": cpu_temperature(root),
        "throttled": _first_line(root / THROTTLED_FILE),
        "load_1min": _load(),
        "memory_total_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "os": _os_name(root),
        "kernel": platform.release() or None,
        "python": platform.python_version(),
        "numpy": package_version("numpy"),
        "onnxruntime": onnxruntime_version(),
        "xprune_edge": package_version("xprune-edge"),
    }


def cpu_name(root: Path = ROOT) -> str | None:
    """Return the name of the processor as the system gives it."""
    for line in _lines(root / "proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Hardware", "cpu model") and value.strip():
            return value.strip()
    return None


def cpu_temperature(root: Path = ROOT) -> float | None:
    """Return the temperature of the processor in degrees Celsius."""
    zones: dict[str, Path] = {}
    for folder in sorted((root / THERMAL_FOLDER).glob("thermal_zone*")):
        kind = _first_line(folder / "type")
        if kind is not None:
            zones.setdefault(kind, folder / "temp")
    for kind in CPU_ZONES:
        text = _first_line(zones[kind]) if kind in zones else None
        if text is not None and text.lstrip("-").isdigit():
            return int(text) / 1000
    return None


def package_version(name: str) -> str | None:
    """Return the version of an installed package, without importing it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def onnxruntime_version() -> str | None:
    """Return the version of onnxruntime, under whichever name it is installed."""
    versions = (package_version(name) for name in ONNXRUNTIME_PACKAGES)
    return next((version for version in versions if version is not None), None)


def _load() -> float | None:
    if not hasattr(os, "getloadavg"):
        return None
    with contextlib.suppress(OSError):
        return os.getloadavg()[0]
    return None


def _os_name(root: Path) -> str | None:
    for line in _lines(root / "etc/os-release"):
        if line.startswith("PRETTY_NAME="):
            return line.removeprefix("PRETTY_NAME=").strip('"')
    return platform.system() or None


def _kilo(path: Path) -> int | None:
    text = _first_line(path)
    return int(text) * 1000 if text is not None and text.isdigit() else None


def _first_line(path: Path) -> str | None:
    # The device tree ends its texts with a zero byte.
    text = next(iter(_lines(path)), "").rstrip("\0").strip()
    return text or None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not every kernel has the file, and not everybody may read it
        return []
