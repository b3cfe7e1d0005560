"""Throughput: streams run together, and all of their inferences count."""

from __future__ import annotations

import threading
import time

import pytest

from runtime_bench.timing.throughput import measure_throughput


def test_streams_run_at_the_same_time() -> None:
    """Three that must meet in every run do, and what they did is counted together."""
    meeting = threading.Barrier(3, timeout=30)
    calls: list[int] = []
    warm: set[int] = set()

    def stream(index: int) -> None:
        if index in warm:
            meeting.wait()
        warm.add(index)
        calls.append(index)

    ticks = iter([0.0, *[10.0] * 100])
    lock = threading.Lock()

    def clock() -> float:
        with lock:
            return next(ticks)

    runs = [lambda index=index: stream(index) for index in range(3)]
    found = measure_throughput(runs, time_s=5.0, clock=clock)

    assert found.streams == 3
    assert found.per_second == pytest.approx(3 / 10.0)
    assert sorted(calls) == [0, 0, 1, 1, 2, 2]


def test_an_error_of_a_stream_comes_out() -> None:
    """Also of one that fails after it was warm."""
    calls = []

    def fails() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        measure_throughput([fails, lambda: time.sleep(0.001)], time_s=0.05)
