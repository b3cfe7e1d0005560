"""AP after pruning YOLOv8n to the same latency, by criterion and substitute, in one run.

    XPRUNE_DATA=... python -m tests.benchmarks.criteria_table --threads 1

Every arm is planned by its own scores, exported, timed in turn with the unpruned model, and
scored on the test pictures from its own artifact. No rewrites on either side, and nothing but
the refit wins accuracy back.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from exporters.bundle import build_artifact
from runtime_bench.accuracy.predictions import evaluate_artifact
from runtime_bench.errors import EdgeError
from runtime_bench.machine.description import describe_machine
from runtime_bench.timing.compare import compare_in_turn
from tests.benchmarks.setting import (
    builtin_workbench,
    coco_workbench,
    markdown,
    measured_ap,
    write_result,
)
from xprune.attribution.scores import Scores
from xprune.layers.substitutes import AUTO
from xprune.pruning.plan import Request
from xprune.run_folder import RunFolder
from xprune.stages.attribute import compute_scores
from xprune.stages.baseline import BASELINE_FOLDER, BASELINE_MODEL, export_baseline
from xprune.stages.plan import make_plan
from xprune.stages.prune import prune_detector
from xprune.stages.workbench import Workbench

# As criterion:substitute. The first is what `prune-export` does when nothing is said.
ARMS = (
    "fisher:auto",
    "grad_act:identity",  # the seed paper's method, its bypassing taken literally
    "l1:identity",  # its baseline
    "l1:auto",
    "removal:auto",
    "fisher:depthwise",
    "grad_act:zero",  # the seed paper's zeroing, with what went dead cut away
    "random:auto",
)
LATENCIES = (0.9, 0.85)


@click.command()
@click.option("--latency", "latencies", type=float, multiple=True, default=LATENCIES)
@click.option("--images", type=int, help="Test pictures.  [default: all]")
@click.option("--recover", default="refit", show_default=True)
@click.option("--threads", type=int)
@click.option("--builtin", is_flag=True, help="The built-in detector, instead of COCO.")
@click.option("--only", multiple=True, help="Arms as criterion:substitute.  [default: all]")
def main(
    latencies: tuple[float, ...],
    images: int | None,
    recover: str,
    threads: int | None,
    *,
    builtin: bool,
    only: tuple[str, ...],
) -> None:
    """Print the table and write results/criteria_table.json (criteria_table_builtin.json)."""
    name = "criteria_table_builtin" if builtin else "criteria_table"
    with tempfile.TemporaryDirectory(prefix="criteria-table-") as folder:
        bench = (builtin_workbench if builtin else coco_workbench)(
            Path(folder), images=images, recover=recover, threads=threads, rewrites="off"
        )
        export_baseline(bench)
        base = evaluate_artifact(
            bench.run.file(BASELINE_FOLDER), bench.sets.test, progress=False
        )
        torch_ap = measured_ap(bench)()
        click.echo(
            f"unpruned: AP {base.ap:.4f} ({torch_ap:.4f} in PyTorch), AP50 {base.ap50:.4f}"
        )
        content: dict[str, Any] = {
            "command": f"python -m tests.benchmarks.{name.removesuffix('_builtin')}"
            + (" --builtin" if builtin else ""),
            "unpruned": {
                "ap": base.ap,
                "ap50": base.ap50,
                "ap_pytorch": torch_ap,
                "pictures": base.pictures,
            },
            "recover": recover,
            "arms": [],
            "machine": describe_machine(),
        }
        known: dict[str, Scores] = {}
        for arm, latency in itertools.product(only or ARMS, latencies):
            row = _arm(bench, known, arm, latency)
            content["arms"].append(row)
            click.echo(" | ".join(_shown(row, base.ap)), err=True)
            write_result(name, content)  # at once: an hour's work is not lost
    click.echo(markdown(_HEADER, [_shown(row, base.ap) for row in content["arms"]]))


def _arm(
    bench: Workbench, known: dict[str, Scores], arm: str, latency: float
) -> dict[str, Any]:
    """Plan, cut, export, time and score one arm."""
    criterion, substitute = arm.split(":")
    # A workbench of the same run with other options; what is loaded already is shared.
    config = replace(bench.run.config, criterion=criterion, substitute=substitute)
    of_arm = Workbench(RunFolder(bench.run.path, config), bench.say)
    shared = ("detector", "sets", "calibration", "targets", "candidates", "unpruned_graph")
    vars(of_arm).update({name: getattr(bench, name) for name in shared})
    row: dict[str, Any] = {
        "criterion": criterion,
        "substitute": substitute,
        "asked_latency": latency,
    }
    folder = bench.run.file(f"{criterion}-{substitute}-{latency:g}")
    try:
        scores = _scores(of_arm, known)
        made = make_plan(of_arm, scores, Request(speedup=1 / latency))
        pruned, _ = prune_detector(of_arm, scores, made)
        build_artifact(
            of_arm.decoded(pruned.network),
            folder=folder,
            card=of_arm.card,
            size=of_arm.size,
            pictures=of_arm.probe_pictures(1),
        )
    except EdgeError as error:
        return {**row, "error": str(error)}
    accuracy = evaluate_artifact(folder, of_arm.sets.test, progress=False)
    comparison = compare_in_turn(
        of_arm.runner(bench.run.file(BASELINE_MODEL)),
        of_arm.runner(folder / "model.onnx"),
        min_rounds=150,
        min_time_s=4.0,
    )
    low, high = comparison.interval
    return row | {
        "ap": accuracy.ap,
        "ap50": accuracy.ap50,
        "latency": 1 / comparison.ratio,
        "latency_interval": [1 / high, 1 / low],
        "removed": [asdict(choice) for choice in made.choices],
    }


def _scores(arm: Workbench, known: dict[str, Scores]) -> Scores:
    """Return the scores of an arm; those with `auto` hold each of its substitutes' too."""
    substitute = arm.run.config.substitute
    key = "auto" if substitute in AUTO else substitute
    if key not in known:
        config = replace(arm.run.config, substitute=key)
        scoring = Workbench(RunFolder(arm.run.path, config), arm.say)
        vars(scoring).update({k: v for k, v in vars(arm).items() if k not in ("run", "say")})
        known[key] = compute_scores(scoring)
    return known[key]


_HEADER = (
    "criterion",
    "substitute",
    "asked",
    "latency",
    "interval",
    "AP",
    "of unpruned",
    "layers",
)


def _shown(row: dict[str, Any], base: float) -> list[str]:
    arm = [row["criterion"], row["substitute"], f"{row['asked_latency']:g}"]
    if "error" in row:
        return [*arm, "not reached", "", "", "", ""]
    low, high = row["latency_interval"]
    return [
        *arm,
        f"{row['latency']:.3f}",
        f"{low:.3f}–{high:.3f}",
        f"{row['ap']:.3f}",
        f"{row['ap'] / base:.2f}",
        str(len(row["removed"])),
    ]


if __name__ == "__main__":
    main()
