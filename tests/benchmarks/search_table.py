"""Search against no search: AP of YOLOv8n at the same latency, in equal seconds.

    XPRUNE_DATA=... python -m tests.benchmarks.search_table --threads 1

Seconds are those of scoring, searching and solving; exporting and timing plans, which every arm
does alike, is not in them. Without a search the seconds are spent on more calibration
pictures, as far as they last or until all of coco_pool are taken; then it stops early, and the
table says after how many seconds. Every arm is scored on the test pictures from its own
artifact, and timed in turn with the unpruned model.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import click

from exporters.bundle import build_artifact
from runtime_bench.accuracy.predictions import evaluate_artifact
from runtime_bench.errors import EdgeError
from runtime_bench.machine.description import describe_machine
from runtime_bench.timing.compare import compare_in_turn
from tests.benchmarks.setting import coco_workbench, data_folder, markdown, write_result
from xprune.attribution.scores import Scores, write_scores
from xprune.run_folder import RunFolder
from xprune.stages.attribute import SCORES_FILE, compute_scores
from xprune.stages.baseline import BASELINE_FOLDER, BASELINE_MODEL, export_baseline
from xprune.stages.plan import latency_table, make_plan, request
from xprune.stages.search import SEARCH_FILE
from xprune.stages.solving import prune_detector
from xprune.stages.workbench import Workbench

METHODS = ("none", "evolution", "beam", "dp")
PICTURES = 64
SHARED = ("detector", "sets", "calibration", "targets", "candidates", "unpruned_graph")

Result = TypeVar("Result")


@click.command()
@click.option("--latency", "latencies", type=float, multiple=True, default=(0.9, 0.85))
@click.option("--seconds", default=300, show_default=True, help="For each arm.")
@click.option("--images", type=int, help="Test pictures.  [default: all]")
@click.option("--threads", type=int)
@click.option("--substitute", default="auto", show_default=True)
@click.option("--only", multiple=True, help="Searches.  [default: all]")
def main(
    latencies: tuple[float, ...],
    seconds: int,
    images: int | None,
    threads: int | None,
    *,
    substitute: str,
    only: tuple[str, ...],
) -> None:
    """Print the table and write results/search_table.json, anew after every arm."""
    options = {"images": images, "threads": threads, "substitute": substitute}
    with tempfile.TemporaryDirectory(prefix="search-table-") as folder:
        bench = _workbench(Path(folder) / "run", PICTURES, **options)
        export_baseline(bench)
        base = evaluate_artifact(
            bench.run.file(BASELINE_FOLDER), bench.sets.test, progress=False
        )
        scores, scores_s = _timed(lambda: compute_scores(bench))
        latency_table(bench, scores.candidates)
        content: dict[str, Any] = {
            "command": f"python -m tests.benchmarks.search_table --seconds {seconds}",
            "unpruned": {"ap": base.ap, "ap50": base.ap50, "pictures": base.pictures},
            "seconds": seconds,
            "substitute": substitute,
            "arms": [],
            "machine": describe_machine(),
        }
        for latency in latencies:
            few = _arm(bench, scores, latency, scores_s=scores_s)
            rest = _equal_seconds(
                bench, scores, few, seconds=seconds, methods=only or METHODS, options=options
            )
            for row in chain([few], rest):
                content["arms"].append(row)
                write_result("search_table", content)
    click.echo(markdown(_HEADER, [_shown(row, base.ap) for row in content["arms"]]))


def _equal_seconds(
    bench: Workbench,
    scores: Scores,
    few: dict[str, Any],
    *,
    seconds: int,
    methods: tuple[str, ...],
    options: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Yield a row for each search, and one for none on as many pictures as fit the seconds.

    Args:
        bench: Of the few pictures that every search works on.
        scores: On those.
        few: The row without a search on those pictures: what is left of the seconds searches.
        seconds: For each arm.
        methods: Searches.
        options: Of the workbench, for another one with more pictures.
    """
    latency = few["latency"]
    for method in methods if "seconds" in few else ():
        left_s = int(seconds - few["seconds"])
        if method == "none":
            more = int(PICTURES * seconds / few["seconds"])
            yield _more_pictures(bench, more, latency, options)
        elif left_s < 1:
            yield {"search": method, "latency": latency, "error": "no seconds are left"}
        else:
            searching = {"search": method, "search_seconds": left_s}
            yield _arm(bench, scores, latency, scores_s=few["scores_s"], **searching)


def _workbench(folder: Path, pictures: int, **options: Any) -> Workbench:
    given = {name: value for name, value in options.items() if value is not None}
    return coco_workbench(
        folder, calibration_images=pictures, speedup=1.1, rewrites="off", **given
    )


def _more_pictures(
    bench: Workbench, wanted: int, latency: float, options: dict[str, Any]
) -> dict[str, Any]:
    """Plan without a search, on as many pictures as the seconds allow, or as there are."""
    there = len(list((data_folder() / "coco_pool" / "images").iterdir()))
    pictures = min(wanted, there)
    other = _workbench(bench.run.file(f"pictures-{pictures}"), pictures, **options)
    vars(other)["unpruned_graph"] = bench.unpruned_graph
    export_baseline(other)
    other.run.file("latency.json").write_bytes(bench.run.file("latency.json").read_bytes())
    _ = other.targets  # reading pictures is no part of planning
    scores, scores_s = _timed(lambda: compute_scores(other))
    return _arm(other, scores, latency, scores_s=scores_s)


def _arm(
    bench: Workbench, scores: Scores, latency: float, *, scores_s: float, **options: Any
) -> dict[str, Any]:
    """Plan, cut, export, time and score one arm; each searches in a folder of its own."""
    config = replace(bench.run.config, speedup=1 / latency, **options)
    name = f"{config.search}-{latency:g}"
    arm = Workbench(RunFolder(bench.run.path, config), bench.say)
    vars(arm).update({part: getattr(bench, part) for part in SHARED})
    arm.run.file(SEARCH_FILE).unlink(missing_ok=True)
    write_scores(arm.run.file(SCORES_FILE), scores)
    row: dict[str, Any] = {
        "search": config.search,
        "latency": latency,
        "pictures": len(scores.pictures),
    }
    try:
        made = make_plan(arm, scores, request(config))
        # What was solved to be timed is solved again, to see how long it takes.
        arm.solved = None
        (pruned, _), solving_s = _timed(lambda: prune_detector(arm, scores, made))
        folder = arm.run.file(name)
        build_artifact(
            arm.decoded(pruned.network),
            folder=folder,
            card=arm.card,
            size=arm.size,
            pictures=arm.probe_pictures(1),
        )
    except EdgeError as error:
        click.echo(f"{name}: {error}", err=True)
        return {**row, "error": str(error)}
    accuracy = evaluate_artifact(folder, arm.sets.test, progress=False)
    comparison = compare_in_turn(
        arm.runner(bench.run.file(BASELINE_MODEL)),
        arm.runner(folder / "model.onnx"),
        min_rounds=150,
        min_time_s=4.0,
    )
    row |= {
        "scores_s": scores_s,
        "seconds": scores_s + (made.search_seconds or 0.0) + solving_s,
        "evaluations": made.evaluations,
        "fitness": made.fitness,
        "fitness_of_scores": made.fitness_of_scores,
        "ap": accuracy.ap,
        "ap50": accuracy.ap50,
        "speedup": comparison.ratio,
        "speedup_interval": list(comparison.interval),
        "removed": [asdict(choice) for choice in made.choices],
    }
    click.echo(
        f"{name}, {row['pictures']} pictures: AP {accuracy.ap:.4f} at {comparison.ratio:.3f}, "
        f"{len(made.choices)} layers, {row['seconds']:.0f} s",
        err=True,
    )
    return row


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start_s = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start_s


_HEADER = (
    "latency asked",
    "search",
    "pictures",
    "plans tried",
    "seconds",
    "AP",
    "of unpruned",
    "latency",
    "interval",
    "layers",
)


def _shown(row: dict[str, Any], base: float) -> list[str]:
    first = [f"{row['latency']:g}", row["search"], str(row.get("pictures", ""))]
    if "error" in row:
        return [*first, "", "", row["error"], "", "", "", ""]
    low, high = (1 / bound for bound in reversed(row["speedup_interval"]))
    return [
        *first,
        str(row["evaluations"] or "–"),
        f"{row['seconds']:.0f}",
        f"{row['ap']:.3f}",
        f"{row['ap'] / base:.2f}",
        f"{1 / row['speedup']:.3f}",
        f"{low:.3f}–{high:.3f}",
        str(len(row["removed"])),
    ]


if __name__ == "__main__":
    main()
