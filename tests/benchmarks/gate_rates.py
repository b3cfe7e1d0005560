"""How often the gate is wrong, and how long it takes, while another process loads a core.

A model of about 3 ms against itself, and against itself slowed by a known share (a busy loop
inside the run call), each gate at most 6 s; the limit lies between the two. Another process
loads one core at random times.

    python -m tests.benchmarks.gate_rates
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import click

from runtime_bench.artifact.opened import open_artifact
from runtime_bench.bench.gate import TimeLimits
from runtime_bench.bench.limits import Limits
from runtime_bench.files import write_json
from runtime_bench.machine.description import describe_machine
from runtime_bench.progress import track
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.inputs import in_turn, timed_inputs
from tests.benchmarks.setting import RESULTS, builtin_workbench
from xprune.stages.baseline import BASELINE_FOLDER, export_baseline

LIMIT = 0.025
LONGEST_S = 6.0
SLOWDOWNS = (0.02, 0.05, 0.10)
MOST_FALSE_ALARMS, LEAST_CAUGHT = 0.01, 0.95
# Awake and asleep for up to so many seconds each, all its life.
LOAD = """
import random, time
chance = random.Random(0)
while True:
    until = time.monotonic() + chance.uniform(0.1, 2.0)
    while time.monotonic() < until:
        pass
    time.sleep(chance.uniform(0.1, 2.0))
"""


@click.command()
@click.option("--same", type=int, default=200, show_default=True, help="Gates of A against A.")
@click.option("--slower", type=int, default=100, show_default=True, help="Of each slowdown.")
@click.option("--artifact", type=click.Path(path_type=Path), help="[default: the built-in one]")
@click.option("--imgsz", type=int, default=160, show_default=True, help="Of the built-in one.")
@click.pass_context
def main(
    context: click.Context, same: int, slower: int, artifact: Path | None, imgsz: int
) -> None:
    """Count outcomes; exit code 1 if a bar is missed."""
    with tempfile.TemporaryDirectory() as folder, _loaded_core():
        run = _runner(artifact or _builtin_artifact(Path(folder), imgsz))
        plain_s = median(_seconds(run) for _ in range(200))
        asked = [0.0] * same + [share for share in SLOWDOWNS for _ in range(slower)]
        random.Random(0).shuffle(asked)
        gates = [
            _gate(run, _slowed(run, share * plain_s), share, seed=number)
            for number, share in enumerate(track(asked, label="Gates"))
        ]
    rows = [_row(gates, share) for share in (0.0, *SLOWDOWNS)]
    alarms = rows[0]["regression"] / max(rows[0]["gates"], 1)
    caught = next(row for row in rows if row["slowdown"] == 0.05)
    met = alarms <= MOST_FALSE_ALARMS and caught["regression"] >= LEAST_CAUGHT * caught["gates"]
    content = {
        "limit": LIMIT,
        "longest_s": LONGEST_S,
        "plain_s": plain_s,
        "met": met,
        "rows": rows,
        "gates": gates,
        "machine": describe_machine(),
    }
    write_json(RESULTS / "gate_rates.json", content)
    click.echo("| slower by | gates | passed | undecided | regression | median s, decided |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        seconds = "" if row["decided_s"] is None else f"{row['decided_s']:.1f}"
        cells = [row[name] for name in ("gates", "passed", "undecided", "regression")]
        click.echo(
            f"| {row['slowdown']:.0%} | " + " | ".join(map(str, cells)) + f" | {seconds} |"
        )
    click.echo("met" if met else "MISSED")
    context.exit(0 if met else 1)


def _builtin_artifact(folder: Path, imgsz: int) -> Path:
    bench = builtin_workbench(folder / "run", imgsz=(imgsz, imgsz))
    export_baseline(bench)
    return bench.run.file(BASELINE_FOLDER)


def _runner(artifact: Path) -> Callable[[], object]:
    opened = open_artifact(artifact, SessionSettings(threads=1, spinning=False))
    return in_turn(opened.session, timed_inputs([], opened.manifest.input))


def _slowed(run: Callable[[], object], extra_s: float) -> Callable[[], object]:
    """Return a run that takes `extra_s` longer: processor time, as a slower kernel would."""

    def slowed() -> None:
        run()
        until_s = time.perf_counter() + extra_s
        while time.perf_counter() < until_s:
            pass

    return slowed


def _gate(
    first: Callable[[], object], second: Callable[[], object], share: float, *, seed: int
) -> dict[str, Any]:
    start_s = time.perf_counter()
    looked = TimeLimits(Limits(max_slowdown=LIMIT)).look(
        [first, second], max_time_s=LONGEST_S, seed=seed
    )
    (check,) = looked.found
    return {
        "slowdown": share,
        "outcome": check.outcome,
        "found": check.value,
        "interval": check.interval,
        "looks": looked.looks,
        "seconds": time.perf_counter() - start_s,
    }


def _row(gates: list[dict[str, Any]], share: float) -> dict[str, Any]:
    own = [gate for gate in gates if gate["slowdown"] == share]
    outcomes = Counter(gate["outcome"] for gate in own)
    decided_s = [gate["seconds"] for gate in own if gate["outcome"] != "undecided"]
    return {
        "slowdown": share,
        "gates": len(own),
        **{name: outcomes[name] for name in ("passed", "undecided", "regression")},
        "decided_s": median(decided_s) if decided_s else None,
    }


def _seconds(run: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    run()
    return time.perf_counter() - start_s


@contextlib.contextmanager
def _loaded_core() -> Iterator[None]:
    load = subprocess.Popen([sys.executable, "-c", LOAD])
    try:
        yield
    finally:
        load.terminate()
        load.wait()


if __name__ == "__main__":
    main()
