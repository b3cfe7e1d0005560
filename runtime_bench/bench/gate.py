"""Hold an artifact to limits: as fast as another one, as accurate, as small; passed or not.

Two artifacts are timed in turn, now and here, for what a machine does changes by the minute. A
stored result serves where there is no other artifact, and only from a machine like this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from runtime_bench.accuracy.predictions import Scored
from runtime_bench.artifact.manifest import Task
from runtime_bench.bench.limits import Limits
from runtime_bench.bench.measured import Measured
from runtime_bench.bench.result import ArtifactFacts, BenchResult
from runtime_bench.data.dataset import Dataset
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.machine.description import describe_machine
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.compare import ends_of, median_interval, medians, paired_ratio
from runtime_bench.timing.inputs import LatencyInput, TimedOn, choose_inputs
from runtime_bench.timing.looks import RESAMPLES, Looked, Times, confidence_for, look_in_turn

Outcome = Literal["passed", "regression", "undecided"]

FORMAT = "xprune-edge gate"
VERSION = 1
# Without these alike, a stored latency says nothing of this machine.
ALIKE = ("device", "cpu", "architecture", "cores_available", "governor", "onnxruntime")
# For each measure of accuracy: the limit on losing it, and on the figure itself.
MEASURES = {"ap": ("max_ap_drop", "min_ap"), "top1": ("max_top1_drop", "min_top1")}
MEASURE_OF: dict[Task, str] = {"detect": "ap", "classify": "top1"}


@dataclass(frozen=True)
class Check:
    """One limit, and what was found.

    Attributes:
        name: That of the limit.
        limit: In its own unit.
        value: What was measured, in the same unit; None where it cannot be known here.
        interval: Between what ends it lies for sure enough; None for what has no spread.
        outcome: What follows.
    """

    name: str
    limit: float
    value: float | None
    interval: tuple[float, float] | None
    outcome: Outcome


@dataclass(frozen=True)
class Gated:
    """What a gate found.

    Attributes:
        candidate: What was held to the limits.
        reference: What it was compared with; None if nothing.
        checks: One for each limit.
        provider: The execution provider that ran, by onnxruntime's name.
        threads: Threads inside one operation.
        latency_input: What the timed runs saw; None if nothing was timed.
        machine: What `describe_machine` says of it.
        times_s: Every timed run in seconds: of the reference, if it was timed now, and last of
            the candidate.
    """

    candidate: ArtifactFacts
    reference: ArtifactFacts | None
    checks: tuple[Check, ...]
    provider: str
    threads: int
    latency_input: LatencyInput | None
    machine: dict[str, object]
    times_s: Times

    @property
    def outcome(self) -> Outcome:
        """A regression if any limit is broken, else undecided if any limit is."""
        outcomes = {check.outcome for check in self.checks}
        if "regression" in outcomes:
            return "regression"
        return "undecided" if "undecided" in outcomes else "passed"

    def to_json(self) -> dict[str, object]:
        """Return what is written to a file."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "outcome": self.outcome,
            "checks": [asdict(check) for check in self.checks],
            "candidate": asdict(self.candidate),
            "reference": self.reference and asdict(self.reference),
            "provider": self.provider,
            "threads": self.threads,
            "latency_input": self.latency_input,
            "machine": self.machine,
            "latency_samples_s": [list(times_s) for times_s in self.times_s],
        }


def run_gate(
    candidate: Path,
    limits: Limits,
    *,
    reference: Path | None = None,
    baseline: BenchResult | None = None,
    dataset: Dataset | None = None,
    session: SessionSettings | None = None,
    max_time_s: float,
    on_round: Callable[[float], object] = lambda done_s: None,
) -> Gated:
    """Hold an artifact to limits.

    Args:
        candidate: The artifact.
        limits: At least one.
        reference: Another artifact, which is measured now as well.
        baseline: A stored result instead.
        dataset: Labelled pictures for AP, and to be timed on; else see `choose_inputs`.
        session: How onnxruntime is to run.
        max_time_s: The most seconds, over both.
        on_round: Called with the seconds so far after each round, for progress.

    Raises:
        EdgeError: If an artifact or a picture cannot be used, or the baseline is unlike this.
        UsageError: If a limit asks for what was not given.
    """
    check_request(limits, reference=reference, baseline=baseline, dataset=dataset)
    machine = describe_machine()
    # Threads that wait actively would eat the cores of the session whose turn it is.
    settings = replace(session or SessionSettings(), spinning=reference is None)
    new = Measured(candidate, settings, dataset)
    old = None if reference is None else Measured(reference, settings, dataset)
    measured = [one for one in (old, new) if one is not None]
    _check_measures(limits, new.task)
    seen = choose_inputs([one.opened for one in measured], new.pictures)
    if baseline is not None:
        _check_alike(baseline, new, seen, machine)
    timing = TimeLimits(limits, None if baseline is None else baseline.latency.timed_s)
    times_s: Times = ()
    checks: tuple[Check, ...] = ()
    if timing.limits.given:
        arms = [one.runner(seen.pictures) for one in measured]
        looked = timing.look(arms, max_time_s=max_time_s, on_round=on_round)
        times_s, checks = looked.times_s, looked.found
    dropping = any(name in limits.given for name, _ in MEASURES.values())
    facts, before = _compared_with(baseline, old, scored=dropping)
    return Gated(
        candidate=new.facts,
        reference=facts,
        checks=(*checks, *_other_checks(limits, new, before)),
        provider=new.session.provider,
        threads=new.session.threads,
        latency_input=seen.kind if times_s else None,
        machine=machine,
        times_s=times_s,
    )


def _compared_with(
    baseline: BenchResult | None, old: Measured | None, *, scored: bool
) -> tuple[ArtifactFacts | None, Scored | None]:
    """Return what a candidate is compared with, and its accuracy, if there is any."""
    if baseline is not None:
        return baseline.artifact, baseline.accuracy
    if old is not None:
        return old.facts, old.accuracy if scored else None
    return None, None


def check_request(
    limits: Limits,
    *,
    reference: Path | None,
    baseline: BenchResult | None,
    dataset: Dataset | None,
) -> None:
    """Check that what the limits ask for was given; see `run_gate`."""
    compared = reference is not None or baseline is not None
    if not limits.given:
        raise UsageError("there is no limit to hold it to; give one, such as --max-slowdown 5%")
    if reference is not None and baseline is not None:
        raise UsageError("--reference and --baseline are two ways to the same; give one")
    drops, scores = zip(*MEASURES.values(), strict=True)
    for name in ("max_slowdown", *drops):
        if name in limits.given and not compared:
            raise UsageError(
                f"{option(name)} compares, but with nothing; give --reference, another artifact"
            )
    for name in (*drops, *scores):
        if name in limits.given and (dataset is None or not dataset.labelled):
            raise UsageError(f"{option(name)} needs labelled pictures; give them as --data")
    for measure, (name, _) in MEASURES.items():
        known = baseline is None or hasattr(baseline.accuracy, measure)
        if name in limits.given and not known:
            raise UsageError(
                f"{option(name)} needs a figure that the baseline lacks; make it with "
                "bench --data"
            )


def option(name: str) -> str:
    """Return a limit's name as it stands on the command line."""
    return "--" + name.replace("_", "-")


class TimeLimits:
    """Judges times by the limits that speak of them.

    Attributes:
        limits: Those alone.
    """

    def __init__(self, limits: Limits, stored_s: Sequence[float] | None = None) -> None:
        """Take the limits, and the times of a reference that is not timed now."""
        self.limits = Limits(
            max_slowdown=limits.max_slowdown, max_latency_ms=limits.max_latency_ms
        )
        self._stored_s = stored_s

    def look(
        self,
        arms: Sequence[Callable[[], object]],
        *,
        max_time_s: float,
        seed: int = 0,
        on_round: Callable[[float], object] = lambda done_s: None,
    ) -> Looked[tuple[Check, ...]]:
        """Time until every limit is decided, or the time is up.

        Args:
            arms: Inferences: of the reference, unless its times are known, and of the
                candidate.
            max_time_s: The most seconds, over both.
            seed: Of the orders.
            on_round: Called with the seconds so far after each round, for progress.
        """
        return look_in_turn(
            arms,
            self.checks,
            lambda found: all(check.outcome != "undecided" for check in found),
            max_time_s=max_time_s,
            seed=seed,
            on_round=on_round,
        )

    def checks(self, times_s: Times) -> tuple[Check, ...]:
        """Return what times say: of a reference first, if it was timed, then the candidate."""
        confidence = confidence_for(len(self.limits.given))
        checks = []
        if self.limits.max_slowdown is not None:
            ratio, (low, high) = self._ratio(times_s, confidence)
            limit = self.limits.max_slowdown
            checks.append(_check("max_slowdown", limit, ratio - 1, (low - 1, high - 1)))
        if self.limits.max_latency_ms is not None:
            times_ms = [1000 * time_s for time_s in times_s[-1]]
            ends = median_interval(times_ms, resamples=RESAMPLES, confidence=confidence)
            median_ms, limit = float(np.median(times_ms)), self.limits.max_latency_ms
            checks.append(_check("max_latency_ms", limit, median_ms, ends))
        return tuple(checks)

    def _ratio(self, times_s: Times, confidence: float) -> tuple[float, tuple[float, float]]:
        """Return the candidate's latency over the reference's, and its interval."""
        new_s = times_s[-1]
        if self._stored_s is None:
            return paired_ratio(new_s, times_s[0], resamples=RESAMPLES, confidence=confidence)
        generator = np.random.default_rng(0)
        both_s = (new_s, self._stored_s)
        drawn = [medians(one_s, generator, resamples=RESAMPLES) for one_s in both_s]
        ratio = float(np.median(new_s) / np.median(self._stored_s))
        return ratio, ends_of(drawn[0] / drawn[1], confidence)


def _check(
    name: str, limit: float, value: float, interval: tuple[float, float] | None = None
) -> Check:
    """Return the check of a value that must not be above its limit."""
    low, high = interval or (value, value)
    outcome: Outcome = "undecided"
    if high <= limit:
        outcome = "passed"
    elif low > limit:
        outcome = "regression"
    return Check(name, limit, value, interval, outcome)


def _other_checks(limits: Limits, new: Measured, before: Scored | None) -> list[Check]:
    """Return the checks of what has no spread: the same file gives the same figure again."""
    checks = []
    for measure, (drop, least) in MEASURES.items():
        if drop in limits.given:
            lost = _figure(before, measure) - _figure(new.accuracy, measure)
            checks.append(_check(drop, limits.given[drop], lost))
        if least in limits.given:
            figure, limit = _figure(new.accuracy, measure), limits.given[least]
            passed: Outcome = "passed" if figure >= limit else "regression"
            checks.append(Check(least, limit, figure, None, passed))
    if limits.max_size_mb is not None:
        checks.append(_check("max_size_mb", limits.max_size_mb, new.facts.size_bytes / 1e6))
    if limits.max_memory_mb is not None:
        memory = new.memory_bytes()
        if memory is None:  # this kernel does not tell
            checks.append(Check("max_memory_mb", limits.max_memory_mb, None, None, "undecided"))
        else:
            checks.append(_check("max_memory_mb", limits.max_memory_mb, memory / 1e6))
    return checks


def _check_measures(limits: Limits, task: Task) -> None:
    """Refuse a limit on what is no measure of the task."""
    own = MEASURES[MEASURE_OF[task]]
    for name in (name for names in MEASURES.values() for name in names):
        if name in limits.given and name not in own:
            raise UsageError(
                f"{option(name)} is for another task; of this model, limit "
                f"{option(own[0])} or {option(own[1])}"
            )


def _figure(accuracy: Scored | None, measure: str) -> float:
    figure: float = getattr(accuracy, measure)
    return figure


def _check_alike(
    baseline: BenchResult, new: Measured, seen: TimedOn, machine: dict[str, object]
) -> None:
    """Refuse a stored result that was not taken as this one will be."""
    pictures = None if new.matched is None else [one.name for one in new.matched.pictures]
    stored = None if baseline.data is None else list(baseline.data.pictures)
    pairs: dict[str, tuple[object, object]] = {
        name: (baseline.machine.get(name), machine.get(name)) for name in ALIKE
    }
    pairs |= {
        "provider": (baseline.provider, new.session.provider),
        "threads": (baseline.threads, new.session.threads),
        "provider options": (baseline.settings.provider_options, new.settings.provider_options),
        "spinning": (baseline.settings.spinning, new.settings.spinning),
        "timed on": (baseline.latency_input, seen.kind),
    }
    unlike = [
        f"{name} was {then}, and is {now}" for name, (then, now) in pairs.items() if then != now
    ]
    others = stored != pictures and stored is not None and pictures is not None
    if others or baseline.latency_pictures != seen.sha256:
        unlike.append("its pictures are other ones")
    if unlike:
        raise EdgeError(
            f"the baseline is not of this setting: {'; '.join(unlike)}; "
            "make it again here, or give --reference, which is measured now"
        )
