"""Accuracy of ResNet-56 on CIFAR-10 against the blocks that are taken out of it, and the time.

    XPRUNE_DATA=... python -m tests.benchmarks.cifar_blocks --out FOLDER

By criterion and substitute, without any training: substitutes are solved, and the
convolutions after them where that is said. Each network is exported, timed in turn with the
unpruned one, and scored from its file on test pictures that nothing else has seen. Rows that
were made are kept in FOLDER.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from exporters.bundle import build_artifact
from runtime_bench.accuracy.predictions import evaluate_artifact, main_figure
from runtime_bench.accuracy.top_k import ClassAccuracy
from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from runtime_bench.machine.description import describe_machine
from runtime_bench.timing.compare import compare_in_turn
from tests.benchmarks.setting import cifar_workbench, markdown, write_result
from xprune.attribution.scores import Scores
from xprune.pruning.plan import Request
from xprune.pruning.plan_by_count import plan_by_count
from xprune.run_folder import RunFolder
from xprune.stages.attribute import compute_scores
from xprune.stages.baseline import BASELINE_FOLDER, BASELINE_MODEL, export_baseline
from xprune.stages.solving import prune_detector
from xprune.stages.workbench import Workbench

CRITERIA = ("divergence", "removal", "fisher", "grad_act", "l1", "random")
# With what the refit is: `none` solves the substitute and nothing else.
SUBSTITUTES = (
    ("identity", "none"),
    ("affine", "refit"),
    ("linear", "none"),
    ("linear", "refit"),
)
COUNTS = (3, 6, 9, 12)
BLOCK = "Block"


@click.command()
@click.option("--blocks", "counts", type=int, multiple=True, default=COUNTS)
@click.option("--criterion", "criteria", multiple=True, default=CRITERIA)
@click.option("--images", type=int, default=2000, show_default=True, help="Test pictures.")
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    counts: tuple[int, ...],
    criteria: tuple[str, ...],
    images: int,
    threads: int,
    out: Path,
) -> None:
    """Print the table and write results/cifar_blocks.json."""
    bench = cifar_workbench(
        out, images=images, threads=threads, rewrites="off", calibration_images=256
    )
    export_baseline(bench)
    unpruned = evaluate_artifact(bench.run.file(BASELINE_FOLDER), bench.sets.test)
    assert isinstance(unpruned, ClassAccuracy)
    scores = compute_scores(bench)
    rows = []
    for count, (substitute, recover), criterion in itertools.product(
        counts, SUBSTITUTES, criteria
    ):
        rows.append(_kept(bench, scores, criterion, substitute, recover, count))
        click.echo(" | ".join(_shown(rows[-1], unpruned.top1)), err=True)
    content = {
        "command": "python -m tests.benchmarks.cifar_blocks --out FOLDER",
        "unpruned": {"top1": unpruned.top1, "top1_interval": unpruned.top1_interval},
        "pictures": unpruned.pictures,
        "calibration_pictures": len(bench.sets.calibration.pictures),
        "blocks": sum(candidate.type == BLOCK for candidate in bench.candidates),
        "rows": rows,
        "machine": describe_machine(),
    }
    write_result("cifar_blocks", content)
    click.echo(markdown(HEADER, [_shown(row, unpruned.top1) for row in rows]))


def _kept(
    bench: Workbench, scores: Scores, criterion: str, substitute: str, recover: str, count: int
) -> dict[str, Any]:
    """Return a row, from its file if it was made before."""
    path = bench.run.file(f"rows/{criterion}-{substitute}-{recover}-{count}.json")
    if path.exists():
        row = read_json(path)
        assert isinstance(row, dict)
        return row
    asked = {
        "criterion": criterion,
        "substitute": substitute,
        "recover": recover,
        "blocks": count,
    }
    row = asked | _made(bench, scores, criterion, substitute, recover, count)
    path.parent.mkdir(exist_ok=True)
    write_json(path, row)
    return row


def _made(
    bench: Workbench, scores: Scores, criterion: str, substitute: str, recover: str, count: int
) -> dict[str, Any]:
    """Cut, export, time and score one network."""
    config = replace(bench.run.config, recover=recover)
    arm = Workbench(RunFolder(bench.run.path, config), bench.say)
    shared = ("detector", "sets", "calibration", "targets", "candidates", "unpruned_graph")
    vars(arm).update({name: getattr(bench, name) for name in shared})
    blocks = tuple(one for one in scores.candidates if one.type == BLOCK)
    folder = bench.run.file("artifact")
    try:
        made = plan_by_count(
            replace(scores, candidates=blocks),
            criterion=criterion,
            substitute=substitute,
            asked=Request(layers=count),
        )
        pruned, _ = prune_detector(arm, scores, made)
        build_artifact(arm.decoded(pruned.network), folder=folder, card=arm.card, size=arm.size)
    except EdgeError as error:
        return {"error": str(error)}
    accuracy = evaluate_artifact(folder, arm.sets.test, progress=False)
    compared = compare_in_turn(
        arm.runner(bench.run.file(BASELINE_MODEL)),
        arm.runner(folder / "model.onnx"),
        min_rounds=150,
        min_time_s=2.0,
    )
    low, high = compared.interval
    return {
        "top1": main_figure(accuracy),
        "latency": 1 / compared.ratio,
        "latency_interval": [1 / high, 1 / low],
        "removed": [choice.layer for choice in made.choices],
    }


HEADER = ("blocks", "substitute", "refit", "criterion", "latency", "top-1", "of unpruned")


def _shown(row: dict[str, Any], unpruned: float) -> list[str]:
    arm = [str(row["blocks"]), row["substitute"], row["recover"], row["criterion"]]
    if "error" in row:
        return [*arm, "not reached", "", ""]
    return [
        *arm,
        f"{row['latency']:.3f}",
        f"{row['top1']:.3f}",
        f"{row['top1'] / unpruned:.2f}",
    ]


if __name__ == "__main__":
    main()
