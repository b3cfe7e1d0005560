"""The control groups that hold this process: where a container's limits stand."""

from __future__ import annotations

from pathlib import Path

from runtime_bench.machine.kernel_files import ROOT, lines, number, whole_number

CGROUP_ROOT = Path("sys/fs/cgroup")
CGROUPS_OF_PROCESS = Path("proc/self/cgroup")
# Version 1 tells no limit as a number near 2^63.
NO_LIMIT = 1 << 60


def group_folders(controller: str, *, mounted: Path, groups: Path) -> set[Path]:
    """Return the folders of a controller whose limits hold for this process, up to the roots.

    Args:
        controller: "cpu" or "memory".
        mounted: Where the control groups, of version 1 or 2, are mounted.
        groups: The file that lists the control groups of this process.
    """
    # Inside a container the listed group is often the host's path, and only the root is there.
    roots = (mounted, mounted / controller, mounted / "unified")
    folders = set(roots)
    for line in lines(groups):
        _, _, controllers_and_group = line.partition(":")
        controllers, _, group = controllers_and_group.partition(":")
        # Version 2 lists no controllers; in version 1 each has groups of its own.
        if controllers and controller not in controllers.split(","):
            continue
        parts = [part for part in group.split("/") if part not in ("", "..")]
        for root in (*roots, mounted / controllers):
            folders.update(root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))
    return folders


def memory_limit(root: Path = ROOT) -> int | None:
    """Return the bytes that this process and its groups may use; None without a limit."""
    told = [
        number(folder / name)
        for folder in _folders("memory", root)
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    limits = [limit for limit in told if limit is not None and 0 < limit < NO_LIMIT]
    return min(limits, default=None)


def quota_stops(root: Path = ROOT) -> int | None:
    """Return how often a quota stopped the processes of these groups, since they were made."""
    told = [
        whole_number(line.partition(" ")[2].strip())
        for folder in _folders("cpu", root)
        for line in lines(folder / "cpu.stat")
        if line.partition(" ")[0] == "nr_throttled"
    ]
    counts = [count for count in told if count is not None]
    return sum(counts) if counts else None


def _folders(controller: str, root: Path) -> set[Path]:
    return group_folders(
        controller, mounted=root / CGROUP_ROOT, groups=root / CGROUPS_OF_PROCESS
    )
