"""How well does the latency table predict what a plan takes?

    XPRUNE_DATA=... python -m tests.benchmarks.latency_prediction

YOLOv8n at 320 px with one thread, its graphs with a raw output and without rewrites. Each plan
is the cheapest for random scores of its own at one of many wanted speed-ups, from one or all
substitutes, so that the plans have little in common. It is exported and timed in turn with the
unpruned network.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from runtime_bench.files import read_json
from runtime_bench.machine.description import describe_machine
from runtime_bench.progress import track
from runtime_bench.timing.compare import Comparison, compare_in_turn
from runtime_bench.timing.latency import Clock
from tests.benchmarks.setting import coco_workbench, markdown, write_result
from xprune.config import PRECISIONS
from xprune.layers.candidates import nearest_ancestor
from xprune.layers.substitutes import SUBSTITUTES, applicable, replacement
from xprune.layers.surgery import apply_plan
from xprune.pruning.knapsack import Option, choose
from xprune.pruning.latency_table import LatencyTable
from xprune.pruning.options import LEAST_SHARE
from xprune.stages.latency import latency_table
from xprune.stages.rewrites import raw_as_timed
from xprune.stages.workbench import Workbench

PLANS = 20
SLOWEST, FASTEST = 1.05, 1.6
BAR = 0.03
NARROW = 0.02


@dataclass(frozen=True)
class Prediction:
    """One plan: what the table says and what it takes, as shares of the unpruned latency."""

    substitute: str
    wanted: float
    choices: tuple[tuple[str, str], ...]
    predicted: float
    measured: float
    interval: tuple[float, float]

    @property
    def error(self) -> float:
        """The difference as a share of what was measured."""
        return abs(self.predicted - self.measured) / self.measured


@click.command()
@click.option("--plans", default=PLANS, show_default=True)
@click.option("--run", "run_path", type=click.Path(path_type=Path), help="Keep the table here.")
@click.option(
    "--processor-time",
    is_flag=True,
    help="Count the seconds of the one thread: on a busy machine waiting would count too.",
)
@click.option("--precision", type=click.Choice(PRECISIONS), default=PRECISIONS[0])
def main(plans: int, run_path: Path | None, *, processor_time: bool, precision: str) -> None:
    """Print the table and write results/latency_prediction.json; fail if the bar is missed.

    In another precision than float32 it is results/latency_prediction_<precision>.json.
    """
    options = "" if precision == PRECISIONS[0] else f" --precision {precision}"
    result_name = f"latency_prediction{options.replace(' --precision ', '_')}"
    with tempfile.TemporaryDirectory(prefix="latency-prediction-") as folder:
        bench = coco_workbench(
            run_path or Path(folder),
            threads=1,
            calibration_images=16,
            rewrites="off",
            precision=precision,
        )
        was_there = bench.run.file("latency.json").exists()
        start_s = time.perf_counter()
        table = latency_table(bench, bench.candidates)
        table_s = None if was_there else time.perf_counter() - start_s
        clock = time.process_time if processor_time else time.perf_counter
        results = [
            _predicted(bench, table, index, clock)
            for index in track(range(plans), label="Timing plans")
        ]
        document = read_json(bench.run.file("latency.json"))
    errors = [result.error for result in results]
    write_result(
        result_name,
        {
            "command": f"python -m tests.benchmarks.latency_prediction{options}",
            "machine": describe_machine(),
            "clock": "processor time" if processor_time else "wall",
            "seconds_for_the_table": table_s,
            "median_error": float(np.median(errors)),
            "largest_error": max(errors),
            "plans": [{**asdict(result), "error": result.error} for result in results],
            "table": document,
        },
    )
    click.echo(
        markdown(("substitute", "layers", "predicted", "measured", "error"), _rows(results))
    )
    median = float(np.median(errors))
    click.echo(f"\nmedian error {median:.1%}, largest {max(errors):.1%}")
    if table_s is not None:
        click.echo(f"the table took {table_s:.0f} s")
    if median > BAR:
        raise click.ClickException(f"the median error {median:.1%} is above {BAR:.0%}")


def _predicted(bench: Workbench, table: LatencyTable, index: int, clock: Clock) -> Prediction:
    """Choose by random scores, and compare the table's word with what is measured."""
    generator = np.random.default_rng(index)
    kinds = ["auto", *(name for name in SUBSTITUTES if name != "zero"), "auto"]
    substitute = kinds[index % len(kinds)]
    wanted = float(np.geomspace(SLOWEST, FASTEST, PLANS)[index * 7 % PLANS])
    chosen = None
    while chosen is None:
        chosen = _random_plan(bench, table, substitute, wanted, generator)
        wanted = 1 + 0.9 * (wanted - 1)  # what one substitute alone cannot reach
    known = {candidate.name: candidate for candidate in bench.candidates}
    network = apply_plan(
        bench.detector.network, [replacement(known[o.layer], o.substitute) for o in chosen]
    )
    comparison = _compared(bench, bench.raw_graph(network), clock)
    low, high = comparison.interval
    return Prediction(
        substitute=substitute,
        wanted=wanted,
        choices=tuple((option.layer, option.substitute) for option in chosen),
        predicted=1 - sum(option.saved_s for option in chosen) / table.base_s,
        measured=1 / comparison.ratio,
        interval=(1 / high, 1 / low),
    )


def _compared(bench: Workbench, graph: bytes, clock: Clock) -> Comparison:
    """Time until the interval is narrow, or for long: on a busy machine it stays wide."""
    for rounds in (100, 300, 900):
        comparison = compare_in_turn(
            bench.runner(raw_as_timed(bench, bench.unpruned_graph)),
            bench.runner(raw_as_timed(bench, graph)),
            min_rounds=rounds,
            min_time_s=2.0,
            clock=clock,
        )
        low, high = comparison.interval
        if high - low <= NARROW * comparison.ratio:
            break
    return comparison


def _random_plan(
    bench: Workbench,
    table: LatencyTable,
    substitute: str,
    wanted: float,
    generator: np.random.Generator,
) -> list[Option] | None:
    """Return the cheapest choice for random scores, or None if it is out of reach."""
    names = [candidate.name for candidate in bench.candidates]
    options = [
        Option(candidate.name, name, generator.lognormal(), saved_s)
        for candidate in bench.candidates
        for name in applicable(candidate, substitute)
        if (saved_s := table.saved_s(candidate.name, name)) >= LEAST_SHARE * table.base_s
    ]
    parents = {name: nearest_ancestor(name, names) for name in names}
    return choose(parents, options, table.base_s * (1 - 1 / wanted))


def _rows(results: list[Prediction]) -> list[list[str]]:
    return [
        [
            result.substitute,
            str(len(result.choices)),
            f"{result.predicted:.3f}",
            f"{result.measured:.3f} ({result.interval[0]:.3f}–{result.interval[1]:.3f})",
            f"{result.error:.1%}",
        ]
        for result in results
    ]


if __name__ == "__main__":
    main()
