"""Time all artifacts of a contest in one run, in turn, so that their ratios compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exporters.keep_faster import clock_for
from runtime_bench.files import read_json, write_json
from runtime_bench.machine.description import describe_machine
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.openings import OPENINGS, Opener, Openings

TIMING_FILE = "timing.json"
MIN_ROUNDS = 200
# Of one artifact, in the mean.
MIN_TIME_S = 3.0
MOST_TIME_S = 20.0


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
    """
    path = folder / TIMING_FILE
    machine = describe_machine()
    facts: dict[str, object] = {
        "models": [base_sha256, *sorted(others)],
        "threads": session.threads,
        "openings": OPENINGS,
        **{name: machine.get(name) for name in ("cpu", "cores_available", "onnxruntime")},
    }
    known = _read(path, facts)
    if known is not None:
        return known
    names = sorted(others)
    count = 1 + len(names)
    opened = Openings(
        [base, *(others[name] for name in names)], seed=seed, clock=clock_for(session)
    )
    opened.take(
        min_rounds=MIN_ROUNDS,
        min_time_s=MIN_TIME_S * count,
        max_time_s=(most_time_s or MOST_TIME_S) * count,
    )
    measured = {name: opened.ratio(at, 0) for at, name in enumerate(names, start=1)}
    timed = Timed(
        base_s=float(np.median(opened.times_s(0))),
        ratios={name: ratio for name, (ratio, _) in measured.items()},
        intervals={name: interval for name, (_, interval) in measured.items()},
        rounds=opened.rounds,
    )
    content = {
        "facts": facts,
        "base_s": timed.base_s,
        "ratios": timed.ratios,
        "intervals": {name: list(ends) for name, ends in timed.intervals.items()},
        "rounds": timed.rounds,
    }
    write_json(path, content)
    return timed


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
