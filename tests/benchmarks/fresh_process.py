"""Measure one arm of a benchmark in a process of its own: no arm warms another's memory.

Of glibc's settings only one is changed, the same as in
`runtime_bench.timing.fresh_start`: blocks from 1 MiB on go back to the system at once, since
what an allocator keeps would read as need.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from runtime_bench.errors import EdgeError
from runtime_bench.machine.description import describe_machine, package_version
from runtime_bench.timing.fresh_start import CHILD_ENVIRONMENT
from runtime_bench.timing.memory import PROCESS_FOLDER, read_peak

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Cost:
    """What a piece of work cost this process.

    Attributes:
        wall_s: Wall time in seconds.
        cpu_s: Processor time of all threads in seconds; on a busy machine the calmer figure.
        growth_bytes: Peak resident memory less what was resident when the work began.
        peak_bytes: Peak resident memory.
    """

    wall_s: float
    cpu_s: float
    growth_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class Ratio:
    """How much more one arm costs than another.

    Attributes:
        value: Ratio of the medians.
        least: Smallest ratio of one round.
        most: Largest ratio of one round.
    """

    value: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.least:.2f}, {self.most:.2f}]"


def cost_of(work: Callable[[], object]) -> Cost:
    """Do some work and return what it cost.

    Raises:
        EdgeError: If the kernel does not tell a process about its memory (Linux does).
    """
    try:
        (PROCESS_FOLDER / "clear_refs").write_text("5")  # the peak starts anew from here
    except OSError as error:
        raise EdgeError(
            f"{PROCESS_FOLDER}: the peak of memory cannot be reset ({error.strerror});"
            " run this on Linux, where the process may write there"
        ) from None
    before = _resident_bytes()
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    peak = read_peak()
    assert peak is not None
    return Cost(wall_s, cpu_s, peak - before, peak)


def run_arm(module: str, arguments: Sequence[str], *, threads: int) -> dict[str, object]:
    """Run a benchmark's module in a fresh process and return the JSON object that it prints.

    Raises:
        EdgeError: If the process fails; the message carries its last line.
    """
    with tempfile.TemporaryDirectory(prefix="xprune-edge-benchmark-") as home:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={
                **os.environ,
                **CHILD_ENVIRONMENT,
                "OMP_NUM_THREADS": str(threads),
                "YOLO_CONFIG_DIR": home,
                "YOLO_OFFLINE": "True",
                "YOLO_AUTOINSTALL": "False",
            },
        )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EdgeError(
            f"{module} {' '.join(arguments)}: ended with {done.returncode}: {reason}"
        )
    result = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(result, dict)
    return result


def ratio(costs: Sequence[float], baseline: Sequence[float]) -> Ratio:
    """Compare two arms, given their costs round by round."""
    by_round = [cost / base for cost, base in zip(costs, baseline, strict=True)]
    return Ratio(median(costs) / median(baseline), min(by_round), max(by_round))


def environment(*, threads: int) -> dict[str, object]:
    """Return what the figures of a benchmark should be read with."""
    return {
        "machine": describe_machine(),
        "threads": threads,
        "torch": package_version("torch"),
        "ultralytics": package_version("ultralytics"),
    }


def _resident_bytes() -> int:
    status = (PROCESS_FOLDER / "status").read_text(encoding="utf-8")
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, "a kernel that can reset the peak tells what is resident"
    return int(found.group(1)) * 1024
