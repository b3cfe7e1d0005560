"""How many threads can really run at once in this process."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from runtime_bench.errors import UsageError
from runtime_bench.machine.cgroups import CGROUP_ROOT, CGROUPS_OF_PROCESS, group_folders
from runtime_bench.machine.kernel_files import ROOT


def available_threads(
    *,
    cgroup_root: Path = ROOT / CGROUP_ROOT,
    cgroups_of_process: Path = ROOT / CGROUPS_OF_PROCESS,
) -> int:
    """Return how many threads can really run at once in this process.

    More threads than that wait for each other and make a model several times slower, so this
    is the least of the processor affinity and of the quota that a container sets through its
    control group (version 1 or 2), and at least 1.

    Args:
        cgroup_root: Where the control groups are mounted.
        cgroups_of_process: The file that lists the control groups of this process.
    """
    quotas = [
        quota
        for folder in group_folders("cpu", mounted=cgroup_root, groups=cgroups_of_process)
        if (quota := _quota_of(folder)) is not None
    ]
    return max(1, min([_affinity(), *(int(quota) for quota in quotas)]))


def keep_to(cpus: Collection[int]) -> None:
    """Have this process, and those it starts, run on these processors alone.

    Raises:
        UsageError: If it may not use one of them, or the system cannot do it.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError("this system does not let a process choose its processors")
    usable = os.sched_getaffinity(0)
    beyond = sorted(set(cpus) - usable)
    if beyond:
        raise UsageError(
            f"processor {beyond[0]} is not among those that may be used here: "
            f"{', '.join(map(str, sorted(usable)))}"
        )
    os.sched_setaffinity(0, cpus)


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota_of(folder: Path) -> float | None:
    """Return the quota of one control group in processors; None where it sets none."""
    limit = _read_or_empty(folder / "cpu.max").split()  # version 2
    if not limit:
        limit = [
            _read_or_empty(folder / "cpu.cfs_quota_us").strip(),
            _read_or_empty(folder / "cpu.cfs_period_us").strip(),
        ]
    # "max" and -1 mean that there is no quota.
    if len(limit) != 2 or not all(re.fullmatch("[1-9][0-9]*", part) for part in limit):
        return None
    quota_us, period_us = (int(part) for part in limit)
    return quota_us / period_us


def _read_or_empty(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
