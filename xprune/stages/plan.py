"""Stage 2: what goes, for the speed that was asked? Leaves `latency.json` and `plan.json`."""

from __future__ import annotations

from pathlib import Path

from xprune.attribution.criteria import check_criterion
from xprune.attribution.scores import Scores, read_scores
from xprune.config import RunConfig
from xprune.pruning.plan import PrunePlan, Request, write_plan
from xprune.pruning.plan_by_count import plan_by_count
from xprune.stages.attribute import SCORES_FILE
from xprune.stages.baseline import export_baseline
from xprune.stages.latency import LATENCY_FILE, latency_table, table_of_other_machine
from xprune.stages.rewrites import check_precision
from xprune.stages.search import proposer
from xprune.stages.timed_plan import free_plan, plan_for_other_machine, timed_plan
from xprune.stages.timing import Stopwatch
from xprune.stages.workbench import Workbench

STAGE = "plan"
PLAN_FILE = "plan.json"

__all__ = ["LATENCY_FILE", "PLAN_FILE", "STAGE", "keep_whole", "make_plan", "plan", "request"]


def plan(bench: Workbench) -> None:
    """Choose what goes, unless a plan is there already."""
    run = bench.run
    if run.is_done(STAGE, inputs=(SCORES_FILE,), outputs=(PLAN_FILE,)):
        bench.say("The plan is made already")
        return
    check_criterion(run.config.criterion)
    check_precision(bench)
    scores = read_scores(run.file(SCORES_FILE))
    write_plan(run.file(PLAN_FILE), make_plan(bench, scores, request(run.config)))
    run.mark_done(STAGE, inputs=(SCORES_FILE,))


def keep_whole(bench: Workbench, latency_ratio: float) -> None:
    """Leave the plan to replace nothing, for a model that was timed beside others before.

    Args:
        bench: Of a run whose layers are scored.
        latency_ratio: What the unpruned model takes at the run's size and precision, as a share
            of the base's latency.
    """
    run, speedup = bench.run, 1 / latency_ratio
    made = PrunePlan(
        run.config.criterion,
        request(run.config),
        (),
        predicted_speedup=speedup,
        measured_speedup=speedup,
    )
    write_plan(run.file(PLAN_FILE), made)
    run.mark_done(STAGE, inputs=(SCORES_FILE,))


def request(config: RunConfig) -> Request:
    """Return what the configuration asks to remove."""
    latency_s = None if config.latency_ms is None else config.latency_ms / 1000
    return Request(config.speedup, latency_s, config.layers, config.fraction)


def make_plan(bench: Workbench, scores: Scores, asked: Request) -> PrunePlan:
    """Return the plan; where time is asked for, one that was exported and timed.

    With timings of another machine it is chosen for that one, and not timed here.
    """
    config = bench.run.config
    if asked.layers is not None or asked.fraction is not None:
        return plan_by_count(
            scores, criterion=config.criterion, substitute=config.substitute, asked=asked
        )
    if config.latency_table is not None:
        table, machine = table_of_other_machine(bench, Path(config.latency_table))
        propose = proposer(bench, scores, table, asked)
        return plan_for_other_machine(bench, table, asked, propose=propose, machine=machine)
    export_baseline(bench)
    clock = Stopwatch(bench)
    free = free_plan(bench, clock, asked)
    if free is not None:
        return free
    table = latency_table(bench, scores.candidates)
    propose = proposer(bench, scores, table, asked)
    return timed_plan(bench, scores, clock, table, asked, propose=propose)
