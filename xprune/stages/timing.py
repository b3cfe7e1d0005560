"""A stopwatch for plans: what they take, timed in turn with what they are cut from.

Like is compared with like: what other work a machine does slows 8 bits and float down unlike,
by a tenth and more, and a small input unlike a large one. So how the unpruned network at its
size and precision compares with the base is measured once, and a plan with that network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from exporters.keep_faster import clock_for
from exporters.precision.lower import FLOAT32
from runtime_bench.timing.compare import Comparison
from runtime_bench.timing.openings import Opener, Openings, compare_opened
from xprune.stages.baseline import BASELINE_MODEL
from xprune.stages.rewrites import kept_rewrites, raw_as_timed, shipped_graph
from xprune.stages.workbench import Workbench

# Rounds are added until the interval of a plan's speed-up is this narrow, or there are so many.
NARROW = 0.03
MOST_ROUNDS = 900
FIRST_ROUNDS = 60
# All plans of a run count on the comparison with the base.
FIRST_S, MOST_FIRST_S = 6.0, 60.0


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
        kept = kept_rewrites(bench)
        base = partial(bench.base_runner, bench.run.file(BASELINE_MODEL))
        self._raw = partial(bench.runner, raw_as_timed(bench, bench.unpruned_graph))
        shipped = shipped_graph(bench, bench.unpruned_graph, kept)
        self._finished = partial(bench.runner, shipped)
        opened = Openings((base, self._raw, self._finished), clock=clock_for(bench.session))
        opened.take(min_rounds=FIRST_ROUNDS, min_time_s=FIRST_S, max_time_s=MOST_FIRST_S)
        self.base_s, self.raw_s, self._finished_s = (
            float(np.median(opened.times_s(model))) for model in range(3)
        )
        # Else the two graphs are one, whatever a busy machine says.
        in_float = bench.run.config.precision == FLOAT32
        differ = bool(kept) or bench.size != bench.base_size or not in_float
        if not differ:
            self._finished_s = self.base_s
        self.extra_s = self._finished_s - self.raw_s
        self.free, self.free_interval = opened.ratio(0, 2) if differ else (1.0, (1.0, 1.0))

    def raw_latency_s(self, raw_graph: bytes) -> tuple[float, float]:
        """Return the latency of a cut network's raw graph, rewritten, and half its interval."""
        comparison = self._compare(self._raw, raw_as_timed(self._bench, raw_graph))
        low, high = comparison.interval
        latency_s = self.raw_s / comparison.ratio
        return latency_s, (self.raw_s / low - self.raw_s / high) / 2

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
        graph = shipped_graph(self._bench, raw_graph, kept)
        comparison = self._compare(self._finished, graph)
        self.extra_s = self._finished_s / comparison.ratio - latency_s
        low, high = comparison.interval
        return Timing(self.free * comparison.ratio, (self.free * low, self.free * high))

    def _compare(self, uncut: Opener, graph: bytes) -> Comparison:
        """Time until the interval is narrow: on a busy machine for longer."""
        return compare_opened(
            uncut,
            partial(self._bench.runner, graph),
            min_rounds=FIRST_ROUNDS,
            min_time_s=1.5,
            max_time_s=15.0,
            narrow=NARROW,
            most_rounds=MOST_ROUNDS,
            clock=clock_for(self._bench.session),
        )
