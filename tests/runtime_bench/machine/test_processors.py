"""How many threads can run at once, from affinity and control groups."""

from __future__ import annotations

import os

import pytest

from runtime_bench.errors import UsageError
from runtime_bench.machine.processors import available_threads, keep_to

AFFINITY = len(os.sched_getaffinity(0))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 8 processors; returns a function that writes its control groups."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))

    def count(groups, files):
        (tmp_path / "process").write_text(groups)
        for name, content in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return available_threads(
            cgroup_root=tmp_path / "fs", cgroups_of_process=tmp_path / "process"
        )

    return count


def test_without_groups_the_affinity_counts(tmp_path):
    """A machine without control groups has what the scheduler allows."""
    nothing = tmp_path / "none"

    assert available_threads(cgroup_root=nothing, cgroups_of_process=nothing) == AFFINITY


@pytest.mark.parametrize(
    ("groups", "files", "threads"),
    [
        ("0::/", {"cpu.max": "max 100000\n"}, 8),
        ("0::/", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/", {"cpu.max": "250000 100000\n"}, 2),
        ("0::/", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/", {"cpu.max": "nonsense"}, 8),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/on/the/host", {"cpu.max": "400000 100000"}, 4),
        ("4:cpu,cpuacct:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "1000"}, 8),
        ("4:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "3000", "cpu/a/cpu.cfs_period_us": "1000"}, 3),
        (
            "4:cpu,cpuacct:/a\n0::/",
            {
                "cpu,cpuacct/a/cpu.cfs_quota_us": "5000",
                "cpu,cpuacct/a/cpu.cfs_period_us": "1000",
            },
            5,
        ),
        ("4:memory:/a", {"cpu/a/cpu.cfs_quota_us": "1", "cpu/a/cpu.cfs_period_us": "1"}, 8),
    ],
)
def test_the_least_quota_counts(machine, groups, files, threads):
    """Both versions of control groups, own group and parents, host paths in a container."""
    assert machine(groups, files) == threads


def test_a_process_keeps_to_its_processors():
    """From then on fewer threads can run at once; what is not there is refused."""
    before = os.sched_getaffinity(0)
    try:
        keep_to({min(before)})
        assert os.sched_getaffinity(0) == {min(before)}
        assert available_threads() == 1
        with pytest.raises(UsageError, match="processor 4000 is not among those"):
            keep_to({4000})
    finally:
        os.sched_setaffinity(0, before)
