"""AP after pruning YOLOv8n to the same speed, by criterion and substitute, in one run.

    XPRUNE_DATA=... python -m tests.benchmarks.criteria_table --speedup 1.1

Every arm is planned by its own scores, exported, timed in turn with the unpruned model, and
scored on the test pictures from its own artifact.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from exporters.bundle import build_artifact
from runtime_bench.accuracy import evaluate_artifact
from runtime_bench.compare import compare_in_turn
from runtime_bench.errors import EdgeError
from runtime_bench.machine import describe_machine
from runtime_bench.session import open_session
from tests.benchmarks.setting import builtin_workbench, coco_workbench, markdown, write_result
from xprune.attribution.scores import Scores
from xprune.data.batches import read_pictures
from xprune.data.evaluate import network_accuracy
from xprune.run_folder import RunFolder
from xprune.stages.attribute import compute_scores
from xprune.stages.baseline import BASELINE_FOLDER, BASELINE_MODEL, export_baseline
from xprune.stages.plan import make_plan, request
from xprune.stages.prune import prune_detector
from xprune.stages.workbench import Workbench

CRITERIA = ("removal", "grad_act", "l1", "random")
SUBSTITUTES = ("zero", "identity", "affine", "linear")
# What `prune-export` does when nothing is said.
DEFAULT = ("fisher", "auto")


@click.command()
@click.option("--speedup", default=1.1, show_default=True)
@click.option("--images", type=int, help="Test pictures.  [default: all]")
@click.option("--recover", default="refit", show_default=True)
@click.option("--threads", type=int)
@click.option("--builtin", is_flag=True, help="The built-in detector, instead of COCO.")
@click.option("--only", multiple=True, help="Arms as criterion:substitute.  [default: all]")
def main(
    speedup: float,
    images: int | None,
    recover: str,
    threads: int | None,
    *,
    builtin: bool,
    only: tuple[str, ...],
) -> None:
    """Print the table and write results/criteria_table.json (criteria_table_builtin.json)."""
    arms = [(criterion, substitute) for substitute in SUBSTITUTES for criterion in CRITERIA]
    arms.append(DEFAULT)
    if only:
        arms = [(name.split(":")[0], name.split(":")[1]) for name in only]
    with tempfile.TemporaryDirectory(prefix="criteria-table-") as folder:
        bench = (builtin_workbench if builtin else coco_workbench)(
            Path(folder), speedup=speedup, images=images, recover=recover, threads=threads
        )
        export_baseline(bench)
        base = evaluate_artifact(
            bench.run.file(BASELINE_FOLDER), bench.sets.test, progress=False
        )
        torch_ap = _pytorch_ap(bench)
        click.echo(
            f"unpruned: AP {base.ap:.4f} ({torch_ap:.4f} in PyTorch), AP50 {base.ap50:.4f}"
        )
        scores: dict[str, Scores] = {}  # all criteria at once, so once for each substitute
        rows = []
        for criterion, substitute in arms:
            rows.append(_arm(bench, scores, criterion, substitute))
            click.echo(_shown(rows[-1], base.ap), err=True)
    content = {
        "command": f"python -m tests.benchmarks.criteria_table --speedup {speedup:g}"
        + (" --builtin" if builtin else ""),
        "unpruned": {
            "ap": base.ap,
            "ap50": base.ap50,
            "ap_pytorch": torch_ap,
            "pictures": base.pictures,
        },
        "speedup": speedup,
        "recover": recover,
        "arms": rows,
        "machine": describe_machine(),
    }
    write_result("criteria_table_builtin" if builtin else "criteria_table", content)
    click.echo(markdown(_HEADER, [_shown(row, base.ap) for row in rows]))


def _pytorch_ap(bench: Workbench) -> float:
    """Return the unpruned network's AP without any export."""
    pictures = bench.sets.test.pictures
    return network_accuracy(
        bench.decoded(bench.detector.network),
        pictures,
        read_pictures(pictures, bench.spec, label="Reading test pictures"),
        spec=bench.spec,
        names=bench.detector.names,
    ).ap


def _arm(
    bench: Workbench, known: dict[str, Scores], criterion: str, substitute: str
) -> dict[str, Any]:
    """Plan, cut, export, time and score one arm."""
    # A workbench of the same run with other options; what is loaded already is shared.
    config = replace(bench.run.config, criterion=criterion, substitute=substitute)
    arm = Workbench(RunFolder(bench.run.path, config), bench.say)
    shared = ("detector", "sets", "calibration", "targets", "candidates", "unpruned_graph")
    vars(arm).update({name: getattr(bench, name) for name in shared})
    row: dict[str, Any] = {"criterion": criterion, "substitute": substitute}
    try:
        if substitute not in known:
            known[substitute] = compute_scores(arm)
        scores = known[substitute]
        made = make_plan(arm, scores, request(config))
        pruned, _ = prune_detector(arm, scores, made)
        folder = bench.run.file(f"{criterion}-{substitute}")
        build_artifact(
            arm.decoded(pruned.network),
            folder=folder,
            card=arm.card,
            size=arm.size,
            pictures=arm.probe_pictures(1),
        )
    except EdgeError as error:
        click.echo(f"{criterion}, {substitute}: {error}", err=True)
        return {**row, "error": str(error)}
    accuracy = evaluate_artifact(folder, arm.sets.test, progress=False)
    first = open_session(bench.run.file(BASELINE_MODEL), arm.session)
    second = open_session(folder / "model.onnx", arm.session)
    images = arm.timed_images
    turns = iter(range(1 << 62))
    comparison = compare_in_turn(
        lambda: first.run(images[next(turns) // 2 % len(images)]),
        lambda: second.run(images[next(turns) // 2 % len(images)]),
        min_rounds=150,
        min_time_s=4.0,
    )
    row |= {
        "ap": accuracy.ap,
        "ap50": accuracy.ap50,
        "speedup": comparison.ratio,
        "speedup_interval": list(comparison.interval),
        "removed": [asdict(choice) for choice in made.choices],
    }
    click.echo(
        f"{criterion}, {substitute}: AP {accuracy.ap:.4f} at {comparison.ratio:.3f}, "
        f"{len(made.choices)} layers",
        err=True,
    )
    return row


_HEADER = (
    "substitute",
    "criterion",
    "AP",
    "of unpruned",
    "AP50",
    "speed-up",
    "interval",
    "layers",
)


def _shown(row: dict[str, Any], base: float) -> list[str]:
    if "error" in row:
        return [row["substitute"], row["criterion"], "not reached", "", "", "", "", ""]
    low, high = row["speedup_interval"]
    return [
        row["substitute"],
        row["criterion"],
        f"{row['ap']:.3f}",
        f"{row['ap'] / base:.2f}",
        f"{row['ap50']:.3f}",
        f"{row['speedup']:.3f}",
        f"{low:.3f}–{high:.3f}",
        str(len(row["removed"])),
    ]


if __name__ == "__main__":
    main()
