"""Time all artifacts of a contest in one run, in turn, so that their ratios compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exporters.keep_faster import clock_for
from runtime_bench.files import read_json, write_json
from runtime_bench.machine.description import describe_machine
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.compare import paired_ratio, time_in_turn

TIMING_FILE = "timing.json"
MIN_ROUNDS = 200
# Of one artifact, in the mean.
MIN_TIME_S = 3.0
MOST_TIME_S = 20.0
OPENINGS = 4

# Opens an artifact and returns a call that runs it.
Opener = Callable[[], Callable[[], object]]


@dataclass(frozen=True)
class Timed:
    """The latencies of artifacts that were timed in one run.

    Attributes:
        base_s: Median of the unpruned model, in seconds.
        ratios: Of each artifact, by the checksum of its model: the median over the rounds of
            its time over the unpruned model's.
        intervals: The 95 % interval of each ratio; it covers the medians of all openings.
        rounds: How often each was timed.
    """

    base_s: float
    ratios: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    rounds: int


def time_all(
    folder: Path,
    base: Opener,
    others: Mapping[str, Opener],
    *,
    base_sha256: str,
    session: SessionSettings,
    seed: int,
    most_time_s: float | None = None,
    openings: int = OPENINGS,
) -> Timed:
    """Time the unpruned model and every artifact, unless just these were timed here already.

    Args:
        folder: Keeps `timing.json`.
        base: Opens the unpruned model and returns a call that runs it.
        others: By checksum, the same of each artifact.
        base_sha256: The unpruned model's checksum.
        session: How onnxruntime runs.
        seed: Of the orders.
        most_time_s: Of one artifact, in the mean; None for `MOST_TIME_S`.
        openings: How often all are opened anew, in another order. Where a session lies in
            memory moves a model of a millisecond by some percent for as long as it is open.
    """
    path = folder / TIMING_FILE
    machine = describe_machine()
    facts: dict[str, object] = {
        "models": [base_sha256, *sorted(others)],
        "threads": session.threads,
        "openings": openings,
        **{name: machine.get(name) for name in ("cpu", "cores_available", "onnxruntime")},
    }
    known = _read(path, facts)
    if known is not None:
        return known
    names = sorted(others)
    count = 1 + len(names)
    parts = [
        time_in_turn(
            _opened([base, *(others[name] for name in names)], share=opening / openings),
            min_rounds=max(2, -(-MIN_ROUNDS // openings)),
            min_time_s=MIN_TIME_S * count / openings,
            max_time_s=(most_time_s or MOST_TIME_S) * count / openings,
            seed=seed + opening,
            clock=clock_for(session),
        )
        for opening in range(openings)
    ]
    timed = _timed(names, parts)
    content = {
        "facts": facts,
        "base_s": timed.base_s,
        "ratios": timed.ratios,
        "intervals": {name: list(ends) for name, ends in timed.intervals.items()},
        "rounds": timed.rounds,
    }
    write_json(path, content)
    return timed


def _opened(openers: Sequence[Opener], *, share: float) -> list[Callable[[], object]]:
    """Open all, beginning at a share of them, and return their calls in the order given."""
    first = int(share * len(openers))
    calls = {at: openers[at]() for at in [*range(first, len(openers)), *range(first)]}
    return [calls[at] for at in range(len(openers))]


def _timed(names: Sequence[str], parts: Sequence[Sequence[Sequence[float]]]) -> Timed:
    base_s, *rest = (
        [time_s for part in column for time_s in part] for column in zip(*parts, strict=True)
    )
    ratios, intervals = {}, {}
    for at, (name, own_s) in enumerate(zip(names, rest, strict=True), start=1):
        ratios[name], (low, high) = paired_ratio(own_s, base_s)
        # What differs from opening to opening is in the interval as well.
        medians = [float(np.median(np.divide(part[at], part[0]))) for part in parts]
        intervals[name] = (min(low, *medians), max(high, *medians))
    return Timed(float(np.median(base_s)), ratios, intervals, len(base_s))


def _read(path: Path, facts: Mapping[str, object]) -> Timed | None:
    """Return what is known if it is of the same; a file that is damaged is timed anew."""
    content: Any = read_json(path) if path.exists() else None
    if not isinstance(content, dict) or content.get("facts") != facts:
        return None
    return Timed(
        base_s=float(content["base_s"]),
        ratios={str(k): float(v) for k, v in content["ratios"].items()},
        intervals={str(k): (float(v[0]), float(v[1])) for k, v in content["intervals"].items()},
        rounds=int(content["rounds"]),
    )
