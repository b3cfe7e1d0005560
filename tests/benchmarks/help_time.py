"""How long `xprune-edge --help` takes, over an interpreter that does nothing.

Both are started in turn, as processes of their own, after one start of each to fill the caches.

    python -m tests.benchmarks.help_time
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

import click

from runtime_bench.errors import EdgeError
from runtime_bench.files import write_json
from runtime_bench.machine.description import describe_machine
from tests.benchmarks.fresh_process import RESULTS, ROOT

HELP = (sys.executable, "-m", "xprune", "--help")
NOTHING = (sys.executable, "-c", "pass")
BAR_S = 0.3


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=20, show_default=True)
@click.pass_context
def main(context: click.Context, rounds: int) -> None:
    """Time both in turn; exit code 1 if the difference is more than 0.3 s."""
    for command in (HELP, NOTHING):
        _seconds(command)
    help_s, nothing_s = [], []
    for _ in range(rounds):
        help_s.append(_seconds(HELP))
        nothing_s.append(_seconds(NOTHING))
    over_s = median(help_s) - median(nothing_s)
    write_json(
        RESULTS / "help_time.json",
        {
            "bar_s": BAR_S,
            "met": over_s <= BAR_S,
            "over_s": over_s,
            "help_s": help_s,
            "nothing_s": nothing_s,
            "machine": describe_machine(),
        },
    )
    click.echo(_line("xprune-edge --help", help_s))
    click.echo(_line("python -c pass", nothing_s))
    verdict = "met" if over_s <= BAR_S else "MISSED"
    click.echo(f"{'difference':<20}{over_s:7.3f} s   at most {BAR_S} s: {verdict}")
    context.exit(0 if over_s <= BAR_S else 1)


def _seconds(command: Sequence[str]) -> float:
    start_s = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start_s
    if done.returncode != 0:
        raise EdgeError(f"{' '.join(command[1:])} failed: {done.stderr.strip()[-200:]}")
    return seconds


def _line(name: str, seconds: Sequence[float]) -> str:
    return f"{name:<20}{median(seconds):7.3f} s   {min(seconds):.3f} to {max(seconds):.3f} s"


if __name__ == "__main__":
    main()
