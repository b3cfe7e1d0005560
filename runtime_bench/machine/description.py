"""Describe the machine that measures; unknown is None, never a guess."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
from pathlib import Path

import psutil

from runtime_bench.machine.cgroups import memory_limit
from runtime_bench.machine.cpu_name import cpu_name
from runtime_bench.machine.kernel_files import ROOT, first_line, lines
from runtime_bench.machine.processors import available_threads
from runtime_bench.machine.readings import frequency_hz, raspberry_flags, temperature_c

CPU_FOLDER = Path("sys/devices/system/cpu/cpu0/cpufreq")
# Jetson: which mode is set, and what the modes are called.
POWER_MODE = Path("var/lib/nvpmodel/status")
POWER_MODES = Path("etc/nvpmodel.conf")
# onnxruntime comes under several names; they all install the module `onnxruntime`.
ONNXRUNTIME_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")


def describe_machine(*, root: Path = ROOT) -> dict[str, object]:
    """Return what a measurement should be read with: parts, state, and versions.

    Frequencies are in hertz (the mean of all processors), temperature in degrees Celsius,
    memory in bytes; its limit is that of the control group. `throttled` are the flags of a
    Raspberry Pi. The name of the machine is left out: it tells of a person, not of a
    measurement.

    Args:
        root: Where `proc` and `sys` are; tests pass a made-up tree.
    """
    memory = psutil.virtual_memory()
    return {
        "device": first_line(root / "proc/device-tree/model"),
        "cpu": cpu_name(root),
        "architecture": platform.machine() or None,
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(logical=True),
        "cores_available": available_threads(),
        "processors": _processors(),
        "governor": _governor(root),
        "frequency_hz": frequency_hz(root),
        "frequency_max_hz": frequency_hz(root, file="cpuinfo_max_freq"),
        "power_mode": _power_mode(root),
        "temperature_c": temperature_c(root),
        "throttled": raspberry_flags(root),
        "load_1min": _load(),
        "memory_total_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "memory_limit_bytes": memory_limit(root),
        "os": _os_name(root),
        "kernel": platform.release() or None,
        "python": platform.python_version(),
        "numpy": package_version("numpy"),
        "onnxruntime": onnxruntime_version(),
        "xprune_edge": package_version("xprune-edge"),
    }


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


def _processors() -> str | None:
    """Return which processors this process may use, such as "0-3, 6"."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    numbers = sorted(os.sched_getaffinity(0))
    runs: list[list[int]] = []
    for processor in numbers:
        if runs and processor == runs[-1][-1] + 1:
            runs[-1].append(processor)
        else:
            runs.append([processor])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _governor(root: Path) -> str | None:
    """Return the governor of the processors; all of them where they differ."""
    files = sorted((root / CPU_FOLDER.parents[1]).glob("cpu[0-9]*/cpufreq/scaling_governor"))
    names = dict.fromkeys(name for file in files if (name := first_line(file)) is not None)
    return ", ".join(names) or None


def _power_mode(root: Path) -> str | None:
    """Return the name of a Jetson's power mode, or its number where the names are not told."""
    told = re.match(r"pmode:0*(\d+)", first_line(root / POWER_MODE) or "")
    if told is None:
        return None
    for line in lines(root / POWER_MODES):
        mode = re.search(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", line)
        if mode is not None and mode[1] == told[1]:
            return mode[2]
    return told[1]


def _os_name(root: Path) -> str | None:
    for line in lines(root / "etc/os-release"):
        if line.startswith("PRETTY_NAME="):
            return line.removeprefix("PRETTY_NAME=").strip('"')
    return platform.system() or None
