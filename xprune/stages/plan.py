"""Stage 2: what goes, for the speed that was asked? Leaves `latency.json` and `plan.json`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime_bench.compare import compare_in_turn
from runtime_bench.errors import EdgeError
from runtime_bench.machine import describe_machine
from runtime_bench.progress import track
from xprune.attribution.criteria import check_criterion
from xprune.attribution.scores import Scores, read_scores
from xprune.config import RunConfig
from xprune.layers.substitutes import replacement
from xprune.layers.surgery import apply_plan
from xprune.pruning.latency_table import (
    LatencyTable,
    measure_latency_table,
    read_latency_table,
    write_latency_table,
)
from xprune.pruning.plan import (
    PrunePlan,
    Request,
    plan_by_count,
    with_measured,
    write_plan,
)
from xprune.stages.attribute import SCORES_FILE
from xprune.stages.baseline import BASELINE_MODEL, export_baseline
from xprune.stages.search import proposer
from xprune.stages.workbench import Workbench

STAGE = "plan"
PLAN_FILE = "plan.json"
LATENCY_FILE = "latency.json"
# Latencies do not add up exactly, so a plan is timed and corrected; this often at most.
ATTEMPTS = 6
# A plan this much faster than asked gave away accuracy: a smaller one is tried.
OVERSHOOT = 0.03
# The machine that measures the result later is a little slower at times.
MARGIN = 0.01
# Rounds are added until the interval of a plan's speed-up is this narrow, or there are so many.
NARROW = 0.03
MOST_ROUNDS = 900


@dataclass(frozen=True)
class Timing:
    """What a cut network's graph delivered, both graphs ending as they will ship."""

    speedup: float
    interval: tuple[float, float]


def plan(bench: Workbench) -> None:
    """Choose what goes, unless a plan is there already."""
    run = bench.run
    if run.is_done(STAGE, inputs=(SCORES_FILE,), outputs=(PLAN_FILE,)):
        bench.say("The plan is made already")
        return
    check_criterion(run.config.criterion)
    scores = read_scores(run.file(SCORES_FILE))
    write_plan(run.file(PLAN_FILE), make_plan(bench, scores, request(run.config)))
    run.mark_done(STAGE, inputs=(SCORES_FILE,))


def request(config: RunConfig) -> Request:
    """Return what the configuration asks to remove."""
    latency_s = None if config.latency_ms is None else config.latency_ms / 1000
    return Request(config.speedup, latency_s, config.layers, config.fraction)


def make_plan(bench: Workbench, scores: Scores, asked: Request) -> PrunePlan:
    """Return the plan; where time is asked for, one that was exported and timed."""
    config = bench.run.config
    if asked.layers is not None or asked.fraction is not None:
        return plan_by_count(
            scores, criterion=config.criterion, substitute=config.substitute, asked=asked
        )
    export_baseline(bench)
    table = latency_table(bench)
    return _timed_plan(bench, scores, table, asked)


def latency_table(bench: Workbench) -> LatencyTable:
    """Return the run's latency table, measured now unless it holds already."""
    path = bench.run.file(LATENCY_FILE)
    settings = _table_settings(bench)
    if path.exists():
        table = read_latency_table(path, bench.candidates)
        if table.settings == settings:
            return table
    table = measure_latency_table(
        bench.detector.network,
        bench.candidates,
        graph=bench.unpruned_graph,
        export=bench.raw_graph,
        images=bench.timed_images,
        session=bench.session,
        settings=settings,
        on_graph=lambda label: bench.say(f"Timing {label}"),
    )
    write_latency_table(path, table)
    return table


def _table_settings(bench: Workbench) -> dict[str, object]:
    machine = describe_machine()
    return {
        "weights_sha256": bench.detector.weights_sha256,
        "imgsz": list(bench.size),
        "threads": bench.run.config.threads,
        **{name: machine.get(name) for name in ("cpu", "cores_available", "onnxruntime")},
    }


def _timed_plan(
    bench: Workbench, scores: Scores, table: LatencyTable, asked: Request
) -> PrunePlan:
    """Plan, export, time, and correct what is asked of the table until it delivers."""
    propose = proposer(bench, scores, table, asked)
    clock = _Stopwatch(bench)
    speedup = asked.wanted_speedup(clock.total_s)
    assert speedup is not None
    if speedup <= 1:
        raise EdgeError(
            f"{asked} is reached without pruning: the model takes "
            f"{clock.total_s * 1000:.2f} ms here; ask for less"
        )
    wanted_s = target_s = clock.total_s * (1 - 1 / (speedup * (1 + MARGIN)))
    best: PrunePlan | None = None
    seen: dict[tuple[tuple[str, str], ...], Timing] = {}
    for _ in track(range(ATTEMPTS), label="Planning and timing"):
        try:
            made = propose(wanted_s)
        except EdgeError:
            if best is None and not seen:
                raise
            break
        key = tuple((choice.layer, choice.substitute) for choice in made.choices)
        if key not in seen:
            seen[key] = clock.time(_cut(bench, scores, made))
        timing = seen[key]
        enough = timing.speedup >= speedup * (1 + MARGIN / 2)
        if enough and (best is None or timing.speedup < (best.measured_speedup or np.inf)):
            best = with_measured(made, timing.speedup, timing.interval)
        if enough and timing.speedup <= speedup * (1 + OVERSHOOT):
            break
        saved_s = clock.total_s * (1 - 1 / timing.speedup)
        wanted_s *= min(1.5, max(0.7, target_s / max(saved_s, target_s / 4)))
    if best is None:
        reached = max(timing.speedup for timing in seen.values())
        raise EdgeError(
            f"{asked} was not reached: of {len(seen)} plans that were exported and timed the "
            f"fastest gave {reached:.2f}; ask for less, or use a smaller --imgsz"
        )
    return best


class _Stopwatch:
    """Times cut networks against the unpruned one, in turn.

    The substitutes are not solved yet, so a graph with NMS would see nonsense; the raw graphs
    are timed, and what NMS adds is taken from the unpruned artifact.
    """

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.base = bench.runner(bench.unpruned_graph)
        whole = bench.runner(bench.run.file(BASELINE_MODEL))
        comparison = compare_in_turn(whole, self.base, min_rounds=60, min_time_s=1.5)
        self.base_s = float(np.median(comparison.second_s))
        self.total_s = max(float(np.median(comparison.first_s)), self.base_s)

    def time(self, graph: bytes) -> Timing:
        """Time until the interval is narrow: on a busy machine for longer."""
        cut = self.bench.runner(graph)
        rounds = 100
        while True:
            comparison = compare_in_turn(
                self.base, cut, min_rounds=rounds, min_time_s=1.5, max_time_s=15.0
            )
            low, high = comparison.interval
            if high - low <= NARROW * comparison.ratio or rounds >= MOST_ROUNDS:
                break
            rounds *= 3
        return Timing(self._whole(comparison.ratio), (self._whole(low), self._whole(high)))

    def _whole(self, ratio: float) -> float:
        """Turn a ratio of raw graphs into that of the graphs that ship."""
        return self.total_s / (self.base_s / ratio + self.total_s - self.base_s)


def _cut(bench: Workbench, scores: Scores, made: PrunePlan) -> bytes:
    """Return the graph of the plan's structure, its substitutes not yet solved."""
    candidates = {candidate.name: candidate for candidate in scores.candidates}
    replacements = [
        replacement(candidates[choice.layer], choice.substitute) for choice in made.choices
    ]
    return bench.raw_graph(apply_plan(bench.detector.network, replacements))
