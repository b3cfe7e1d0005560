"""All artifacts are timed in one run; what was timed is not timed again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime_bench.runtime.settings import SessionSettings
from xprune.contest import timing
from xprune.contest.timing import Timed, time_all


class Work:
    """Calls that take processor time, and count how often they are made."""

    def __init__(self, loops: int) -> None:
        self.loops, self.calls = loops, 0

    def __call__(self) -> None:
        self.calls += 1
        for _ in range(self.loops):
            pass


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for a moment only."""
    monkeypatch.setattr(timing, "MIN_ROUNDS", 5)
    monkeypatch.setattr(timing, "MIN_TIME_S", 0.0)


def timed(folder: Path, base: Work, others: dict[str, Work]) -> Timed:
    """Time on one thread."""
    return time_all(
        folder,
        lambda: base,
        {name: lambda work=work: work for name, work in others.items()},  # type: ignore[misc]
        base_sha256="base",
        session=SessionSettings(threads=1),
        seed=0,
    )


def test_each_is_run_as_often_as_the_base(tmp_path: Path) -> None:
    """In rounds; the ratio is of medians, inside its interval."""
    base, half = Work(40_000), Work(20_000)

    found = timed(tmp_path, base, {"half": half})

    assert base.calls == half.calls
    assert found.rounds >= 5
    low, high = found.intervals["half"]
    assert low <= found.ratios["half"] <= high


def test_what_was_timed_together_is_known(tmp_path: Path) -> None:
    """The same artifacts on the same machine: nothing runs."""
    first = timed(tmp_path, Work(10), {"a": Work(10)})
    base, other = Work(10), Work(10)

    again = timed(tmp_path, base, {"a": other})

    assert again == first
    assert base.calls == other.calls == 0


def test_one_more_artifact_times_all_of_them_anew(tmp_path: Path) -> None:
    """Ratios of different runs are not comparable."""
    timed(tmp_path, Work(10), {"a": Work(10)})
    first, more = Work(10), Work(10)

    found = timed(tmp_path, Work(10), {"a": first, "b": more})

    assert first.calls == more.calls > 0
    assert set(found.ratios) == {"a", "b"}


def test_another_machine_times_anew(tmp_path: Path) -> None:
    """What the file says of the machine must fit."""
    timed(tmp_path, Work(10), {"a": Work(10)})
    path = tmp_path / "timing.json"
    content = json.loads(path.read_text())
    content["facts"]["cpu"] = "another"
    path.write_text(json.dumps(content))
    other = Work(10)

    timed(tmp_path, Work(10), {"a": other})

    assert other.calls > 0
