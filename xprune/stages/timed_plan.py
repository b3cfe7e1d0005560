"""A plan that was exported, solved and timed, so that it delivers what was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from runtime_bench.errors import EdgeError
from xprune.attribution.scores import Scores
from xprune.config import TRAININGS
from xprune.layers.substitutes import replacement
from xprune.pruning.latency_table import LatencyTable
from xprune.pruning.plan import NextSlower, PrunePlan, Request, with_measured
from xprune.stages.cutting import cut_network
from xprune.stages.frontier import OVERSHOOT, Found, find_neighbours
from xprune.stages.solving import prune_detector
from xprune.stages.timing import Stopwatch, Timing
from xprune.stages.workbench import Workbench

Propose = Callable[[float], PrunePlan]
Pairs = tuple[tuple[str, str], ...]
# The machine that measures the result later is a little slower at times.
MARGIN = 0.005
# So many plans are solved and timed as they ship, at most.
MOST_FINISHED = 4
# Layers that are named where two plans differ; all are in plan.json.
MOST_NAMED = 4


def free_plan(bench: Workbench, clock: Stopwatch, asked: Request) -> PrunePlan | None:
    """Return the plan to replace nothing, if that is as fast as what was asked; else None.

    Args:
        bench: The run's parts.
        clock: Of the run.
        asked: With a speed-up or a latency.

    Raises:
        EdgeError: If the unpruned model is as fast as that in plain export.
    """
    if clock.free < _wanted(asked, clock.base_s) * (1 + MARGIN):
        return None
    bench.say(f"It is {clock.free:.3f} times as fast already; no layer has to go")
    criterion = bench.run.config.criterion
    free = PrunePlan(criterion, asked, (), clock.base_s, predicted_speedup=clock.free)
    return with_measured(free, clock.free, clock.free_interval)


def timed_plan(
    bench: Workbench,
    scores: Scores,
    clock: Stopwatch,
    table: LatencyTable,
    asked: Request,
    *,
    propose: Propose,
) -> PrunePlan:
    """Return the plan that delivers what was asked and loses least, exported and timed.

    Args:
        bench: The run's parts.
        scores: From `attribute`.
        clock: Of the run.
        table: Of this machine.
        asked: With a speed-up or a latency.
        propose: Makes the plan for a wanted saving, in seconds of the table.

    Raises:
        EdgeError: If no plan delivers that.
    """
    goal = _wanted(asked, clock.base_s) * (1 + MARGIN)
    trials = _Trials(bench, scores, clock, table)
    for _ in range(MOST_FINISHED):
        try:
            found = trials.neighbours(propose, goal)
        except EdgeError:
            if not trials.was_solved:
                raise
            break  # NMS in the plan that was solved takes more than any layers could save
        if found.best is None:
            break
        timing = trials.finished(found.best)
        if timing.speedup >= goal and (
            timing.speedup <= goal * (1 + OVERSHOOT) or not trials.delivers(found.slower, goal)
        ):
            break
    return trials.chosen(asked, goal)


def plan_for_other_machine(
    bench: Workbench,
    table: LatencyTable,
    asked: Request,
    *,
    propose: Propose,
    machine: str,
) -> PrunePlan:
    """Return a plan for the machine that `table` is of; it is not timed, and says so.

    Raises:
        EdgeError: If all layers together do not save what was asked.
    """
    base_s = table.shipped_s or table.base_s
    free_s = table.base_s if table.shipped_s is None else table.rewritten_s or table.shipped_s
    speedup = _wanted(asked, base_s)
    wanted_s = free_s - base_s / speedup
    made = PrunePlan(bench.run.config.criterion, asked, ())
    if wanted_s > 0:
        made = propose(wanted_s)
    predicted = base_s / max(free_s - made.promised_s, 1e-9)
    bench.say(
        f"The latency table is of another machine ({machine}): the plan promises "
        f"{predicted:.3f} times the speed there, and was not timed; time the artifact there "
        "with `xprune-edge bench`"
    )
    return replace(made, base_latency_s=base_s, predicted_speedup=predicted, machine=machine)


def _wanted(asked: Request, base_s: float) -> float:
    """Return the speed-up that is asked for.

    Raises:
        EdgeError: If the unpruned model is as fast as that.
    """
    speedup = asked.wanted_speedup(base_s)
    assert speedup is not None
    if speedup <= 1:
        raise EdgeError(
            f"{asked} is reached without pruning: the model takes {base_s * 1000:.2f} ms; "
            "ask for less"
        )
    return speedup


class _Trials:
    """The plans of one run that were timed: raw, and some of them solved and as they ship."""

    def __init__(
        self, bench: Workbench, scores: Scores, clock: Stopwatch, table: LatencyTable
    ) -> None:
        self._bench, self._scores, self._clock = bench, scores, clock
        self._candidates = {candidate.name: candidate for candidate in scores.candidates}
        # Seconds of the table for one of the stopwatch: the machine may be slower now.
        self._scale = table.base_s / clock.raw_s
        self._plans: dict[Pairs, PrunePlan] = {}
        self._raw_s: dict[Pairs, tuple[float, float]] = {}
        self._finished: dict[Pairs, Timing] = {}

    def neighbours(self, propose: Propose, goal: float) -> Found:
        """Return the slowest plan that should deliver `goal`, and the next slower one."""
        clock, scale = self._clock, self._scale
        return find_neighbours(
            propose,
            lambda made: scale * self._saved_s(made),
            goal_s=scale * clock.base_s * (1 - 1 / goal),
            free_s=scale * (clock.base_s - clock.raw_s - clock.extra_s),
            base_s=scale * clock.base_s,
        )

    def finished(self, made: PrunePlan) -> Timing:
        """Solve a plan and time it as it ships, once.

        Where a training follows it is not solved: before that a network answers with much that
        it will not say any more, and NMS would take its time for it.
        """
        if self._bench.run.config.recover in TRAININGS:
            self._finished[made.pairs] = self._clock.shipped(*self._raw_s[made.pairs])
        if made.pairs not in self._finished:
            pruned, _ = prune_detector(self._bench, self._scores, made)
            graph = self._bench.raw_graph(pruned.network)
            timing = self._clock.finished(graph, self._raw_s[made.pairs][0])
            self._finished[made.pairs] = timing
            self._bench.say(f"Solved and timed as it ships: {timing.speedup:.3f}")
        return self._finished[made.pairs]

    @property
    def was_solved(self) -> bool:
        """Whether a plan was timed as it ships."""
        return bool(self._finished)

    def delivers(self, made: PrunePlan | None, goal: float) -> bool:
        """Whether a plan that was timed should deliver `goal`; None is the unpruned network."""
        return made is not None and self._timing(made).speedup >= goal

    def chosen(self, asked: Request, goal: float) -> PrunePlan:
        """Return the best plan that really delivered, with its slower neighbour.

        Raises:
            EdgeError: If none did.
        """
        good = [
            pairs
            for pairs, timing in self._finished.items()
            if timing.speedup >= goal / (1 + MARGIN)
        ]
        if not good:
            reached = max(
                (self._timing(made).speedup for made in self._plans.values()), default=1
            )
            raise EdgeError(
                f"{asked} was not reached: of {len(self._plans)} plans that were exported and "
                f"timed the fastest gave {reached:.2f}; ask for less, or use a smaller --imgsz"
            )
        best = self._plans[min(good, key=lambda pairs: self._plans[pairs].promised_s)]
        timing = self._finished[best.pairs]
        made = replace(
            with_measured(best, timing.speedup, timing.interval),
            base_latency_s=self._clock.base_s,
            predicted_speedup=self._promised(best),
            next_slower=self._next_slower(best, asked),
        )
        if made.next_slower and timing.speedup > goal / (1 + MARGIN) * (1 + OVERSHOOT):
            self._bench.say(
                f"The plan gives {timing.speedup:.3f}, more than {asked}: "
                f"{made.next_slower.reason}"
            )
        return made

    def _next_slower(self, best: PrunePlan, asked: Request) -> NextSlower:
        """Return the timed plan that promises the most below `best`, and why not it."""
        slower = [made for made in self._plans.values() if made.promised_s < best.promised_s]
        if not slower:
            speedup = self._clock.free
            reason = f"without any layer replaced it is {speedup:.3f}, which misses {asked}"
            return NextSlower((), speedup, reason)
        made = max(slower, key=lambda other: other.promised_s)
        speedup = self._timing(made).speedup
        return NextSlower(
            made.pairs,
            speedup,
            f"the next slower plan ({_difference(made, best)}) gives {speedup:.3f}, which "
            f"misses {asked}",
        )

    def _saved_s(self, made: PrunePlan) -> float:
        """Return the seconds that a plan saves of the unpruned model as it ships."""
        self._plans[made.pairs] = made
        if made.pairs not in self._raw_s:
            self._raw_s[made.pairs] = self._clock.raw_latency_s(self._cut(made))
            self._bench.say(
                f"Plan {len(self._raw_s)}: {len(made.choices)} layers, promises "
                f"{self._promised(made):.3f}, timed {self._timing(made).speedup:.3f}"
            )
        return self._clock.base_s * (1 - 1 / self._timing(made).speedup)

    def _timing(self, made: PrunePlan) -> Timing:
        known = self._finished.get(made.pairs)
        return known or self._clock.shipped(*self._raw_s[made.pairs])

    def _promised(self, made: PrunePlan) -> float:
        """Return the speed-up that the table promises of the network as it ships."""
        clock = self._clock
        left_s = clock.raw_s - made.promised_s / self._scale + clock.extra_s
        return clock.base_s / max(left_s, 1e-9)

    def _cut(self, made: PrunePlan) -> bytes:
        """Return the raw graph of the plan's structure, its substitutes not yet solved."""
        wanted = [replacement(self._candidates[layer], name) for layer, name in made.pairs]
        network, _ = cut_network(self._bench, self._scores, wanted)
        return self._bench.raw_graph(network)


def _difference(slower: PrunePlan, best: PrunePlan) -> str:
    """Say in words in what two plans differ."""
    only = [
        f"{name} for {layer}" for layer, name in slower.pairs if (layer, name) not in best.pairs
    ]
    lacking = [
        f"{name} for {layer}" for layer, name in best.pairs if (layer, name) not in slower.pairs
    ]
    parts = [
        f"{word} {', '.join(names[:MOST_NAMED])}{', ...' * (len(names) > MOST_NAMED)}"
        for word, names in (("with", only), ("without", lacking))
        if names
    ]
    return " and ".join(parts)
