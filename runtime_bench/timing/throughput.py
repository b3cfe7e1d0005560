"""How many inferences a second several streams get through together, as a server would ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from runtime_bench.timing.latency import Clock


@dataclass(frozen=True)
class Throughput:
    """What streams got through together.

    Attributes:
        streams: How many asked at the same time.
        per_second: Inferences a second, of all of them.
    """

    streams: int
    per_second: float


def measure_throughput(
    runs: Sequence[Callable[[], object]], *, time_s: float, clock: Clock = time.perf_counter
) -> Throughput:
    """Call every run again and again, each in a thread of its own.

    Args:
        runs: One inference for each stream; they may share a session.
        time_s: No inference begins after this many seconds; each stream makes one at least.
        clock: A monotonic clock in seconds, the same for all threads.
    """
    for run in runs:
        run()
    start_s = clock()

    def stream(run: Callable[[], object]) -> int:
        done = 0
        while not done or clock() - start_s < time_s:
            run()
            done += 1
        return done

    with ThreadPoolExecutor(max_workers=len(runs)) as pool:
        done = sum(pool.map(stream, runs))
    return Throughput(len(runs), done / (clock() - start_s))
