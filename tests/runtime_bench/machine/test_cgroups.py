"""Limits of control groups: both versions, own group and parents, and none."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime_bench.machine.cgroups import memory_limit, quota_stops
from tests.runtime_bench.machine.made_up import make

GROUPS = "proc/self/cgroup"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"memory.max": "max"}, None),
        ({"memory.max": "200000000"}, 200_000_000),
        ({"memory/memory.limit_in_bytes": str(2**63 - 4096)}, None),
        ({"memory/memory.limit_in_bytes": "300000000"}, 300_000_000),
        ({GROUPS: "0::/a/b", "a/memory.max": "9", "a/b/memory.max": "max"}, 9),
        (
            {
                GROUPS: "4:memory:/x\n1:cpu:/y",
                "memory/x/memory.limit_in_bytes": "7",
                "memory/y/memory.limit_in_bytes": "5",
            },
            7,
        ),
    ],
)
def test_the_least_limit_counts(
    tmp_path: Path, files: dict[str, str], limit: int | None
) -> None:
    """Of this process's own groups alone."""
    make(tmp_path, {k if k == GROUPS else f"sys/fs/cgroup/{k}": v for k, v in files.items()})

    assert memory_limit(tmp_path) == limit


def test_stops_of_all_groups_are_added(tmp_path: Path) -> None:
    """A parent's quota stops its children too."""
    make(
        tmp_path,
        {
            GROUPS: "0::/a",
            "sys/fs/cgroup/cpu.stat": "nr_periods 9\nnr_throttled 4\n",
            "sys/fs/cgroup/a/cpu.stat": "usage_usec 1\nnr_throttled 3\n",
            "sys/fs/cgroup/b/cpu.stat": "nr_throttled 100\n",
        },
    )

    assert quota_stops(tmp_path) == 7
    assert quota_stops(tmp_path / "nothing") is None
