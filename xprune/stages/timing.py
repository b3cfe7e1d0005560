"""A stopwatch for plans: graphs timed in turn with the unpruned model as it ships."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exporters.keep_faster import clock_for
from exporters.precision.lower import FLOAT32
from runtime_bench.compare import Comparison, compare_in_turn, ratio_interval, time_in_turn
from xprune.stages.baseline import BASELINE_MODEL
from xprune.stages.rewrites import kept_rewrites, raw_as_timed, shipped_graph
from xprune.stages.workbench import Workbench

# Rounds are added until the interval of a plan's speed-up is this narrow, or there are so many.
NARROW = 0.03
MOST_ROUNDS = 900
FIRST_ROUNDS = 60


@dataclass(frozen=True)
class Timing:
    """What a cut network delivers, compared with the unpruned one, both as they ship."""

    speedup: float
    interval: tuple[float, float]


class Stopwatch:
    """Times cut networks against the unpruned one, in turn.

    While a plan is looked for its substitutes are not solved yet, so NMS in its graph would see
    nonsense: the raw graph, rewritten, is timed, and what comes on top is known from another
    network.

    Attributes:
        base_s: Latency of the unpruned model as it ships, without rewrites, at its base size.
        raw_s: Latency of the unpruned graph with a raw output, rewritten.
        extra_s: What shipping adds to such a graph, mostly NMS; below 0 where rewrites around
            NMS win more. At first that of the unpruned model, then of the plan solved last.
        free: What rewrites, another input size and precision deliver with no layer touched.
        free_interval: Its 95 % interval.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._base = bench.base_runner(bench.run.file(BASELINE_MODEL))
        kept = kept_rewrites(bench)
        raw = bench.runner(raw_as_timed(bench, bench.unpruned_graph))
        finished = bench.runner(shipped_graph(bench, bench.unpruned_graph, kept))
        times_s = time_in_turn(
            (self._base, raw, finished),
            min_rounds=FIRST_ROUNDS,
            min_time_s=2.0,
            max_time_s=30.0,
            seed=0,
            clock=clock_for(bench.session),
        )
        self.base_s, self.raw_s, finished_s = (float(np.median(times)) for times in times_s)
        self.extra_s = finished_s - self.raw_s
        # Else the two graphs are one, whatever a busy machine says.
        in_float = bench.run.config.precision == FLOAT32
        differ = bool(kept) or bench.size != bench.base_size or not in_float
        self.free = self.base_s / finished_s if differ else 1.0
        self.free_interval = ratio_interval(times_s[0], times_s[2]) if differ else (1.0, 1.0)

    def raw_latency_s(self, raw_graph: bytes) -> tuple[float, float]:
        """Return the latency of a cut network's raw graph, rewritten, and half its interval."""
        comparison = self._compare(raw_as_timed(self._bench, raw_graph))
        low, high = comparison.interval
        latency_s = self.base_s / comparison.ratio
        return latency_s, (self.base_s / low - self.base_s / high) / 2

    def shipped(self, latency_s: float, half_s: float) -> Timing:
        """Return what a raw graph of some latency will deliver once it ships."""
        speeds = [
            self.base_s / max(time_s + self.extra_s, 1e-9)
            for time_s in (latency_s, latency_s + half_s, latency_s - half_s)
        ]
        return Timing(speeds[0], (speeds[1], speeds[2]))

    def finished(self, raw_graph: bytes, latency_s: float) -> Timing:
        """Return what a solved network delivers as it ships, and learn what shipping adds.

        Args:
            raw_graph: Of the solved network.
            latency_s: What its raw graph took.
        """
        kept = kept_rewrites(self._bench)
        comparison = self._compare(shipped_graph(self._bench, raw_graph, kept))
        self.extra_s = self.base_s / comparison.ratio - latency_s
        return Timing(comparison.ratio, comparison.interval)

    def _compare(self, graph: bytes) -> Comparison:
        """Time until the interval is narrow: on a busy machine for longer."""
        cut = self._bench.runner(graph)
        rounds = FIRST_ROUNDS
        while True:
            comparison = compare_in_turn(
                self._base,
                cut,
                min_rounds=rounds,
                min_time_s=1.5,
                max_time_s=15.0,
                clock=clock_for(self._bench.session),
            )
            low, high = comparison.interval
            if high - low <= NARROW * comparison.ratio or rounds >= MOST_ROUNDS:
                return comparison
            rounds *= 3
