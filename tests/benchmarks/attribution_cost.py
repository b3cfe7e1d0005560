"""What attribution costs, against a plain forward and backward pass of the same loss.

The plain pass computes the gradients of all weights, as training does. Attribution needs none of
them, but gives `grad_act*`, `removal*` and `fisher` for every candidate. Both go through the same
pictures in the same batches, after one batch to warm up; each arm of each round is a fresh process.

    python -m tests.benchmarks.attribution_cost
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from runtime_bench.cli import EdgeGroup
from runtime_bench.dataset import match_classes, read_dataset
from runtime_bench.files import write_json
from runtime_bench.manifest import InputSpec
from runtime_bench.pictures import Picture
from tests.benchmarks.fresh_process import (
    RESULTS,
    Ratio,
    cost_of,
    environment,
    ratio,
    run_arm,
)
from xprune.attribution.attribute import (
    ScoringTask,
    fitted_substitutes,
    gradient_moments,
    gradient_tables,
)
from xprune.builtin.scenes import CALIBRATION_SEED, write_scenes
from xprune.data.batches import PictureTensor, read_pictures
from xprune.layers.candidates import find_candidates
from xprune.layers.substitutes import applicable
from xprune.models import yolo
from xprune.models.load import NO_WEIGHTS, load_detector

PICTURES, BATCH, SIDE_PX = 64, 16, 320
# What a layer is scored against: nothing but its input, or every substitute at once.
SCORED = ("identity", "auto")
PLAIN = "plain"
ARMS = (PLAIN, *SCORED)
TIME_BAR, MEMORY_BAR = 1.5, 1.3

MODULE = "tests.benchmarks.attribution_cost"

Report = dict[str, Any]  # what one process says of its arm


@click.group(cls=EdgeGroup, invoke_without_command=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.pass_context
def main(context: click.Context, rounds: int, threads: int) -> None:
    """Measure the arms in turn; exit code 1 if attribution costs more than it may."""
    if context.invoked_subcommand is not None:
        return
    order = random.Random(0)
    found: dict[str, list[Report]] = {arm_name: [] for arm_name in ARMS}
    for _ in range(rounds):
        for arm_name in order.sample(ARMS, len(ARMS)):
            found[arm_name].append(run_arm(MODULE, ["arm", arm_name], threads=threads))
    ratios = {arm_name: _ratios(found, arm_name) for arm_name in SCORED}
    result = {
        "pictures": PICTURES,
        "batch": BATCH,
        "side_px": SIDE_PX,
        "bars": {"wall_s": TIME_BAR, "growth_bytes": MEMORY_BAR},
        "met": {arm_name: _is_met(of_arm) for arm_name, of_arm in ratios.items()},
        "ratios": {
            arm_name: {name: asdict(value) for name, value in of_arm.items()}
            for arm_name, of_arm in ratios.items()
        },
        "rounds": found,
        **environment(threads=threads),
    }
    write_json(RESULTS / "attribution_cost.json", result)
    _show(found, ratios)
    context.exit(0 if all(result["met"].values()) else 1)


@main.command(hidden=True)
@click.argument("name", type=click.Choice(ARMS))
def arm(name: str) -> None:
    """Measure one arm in this process, and write a line of JSON."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    task, source = _task()
    work, facts = _plain(task) if name == PLAIN else _scores(task, name)
    click.echo(json.dumps({"source": source, "cost": asdict(cost_of(work)), **facts}))


def _task() -> tuple[ScoringTask, str]:
    """Return the network on its pictures, and words for where both are from."""
    data = os.environ.get("XPRUNE_DATA")
    if data is None:
        detector = load_detector("yolov8n", weights=NO_WEIGHTS)
        with tempfile.TemporaryDirectory() as folder:
            # The random network has no classes of its own, so their numbers serve.
            scenes = write_scenes(
                Path(folder) / "scenes", count=PICTURES, seed=CALIBRATION_SEED
            )
            pictures = _read(read_dataset(scenes).pictures)
        source = "random weights, built-in scenes (XPRUNE_DATA is not set)"
    else:
        weights = Path(data, "weights", "yolov8n_coco.pth")
        detector = load_detector("yolov8n", weights=str(weights))
        pool = read_dataset(Path(data, "coco_pool", "instances.json"))
        pool = replace(pool, pictures=pool.pictures[:PICTURES])
        pictures = _read(match_classes(pool, detector.names).pictures)
        source = "COCO weights, pictures and labels"
    network = detector.network
    candidates = find_candidates(
        network, lambda: yolo.head_outputs(network, torch.zeros(1, 3, SIDE_PX, SIDE_PX))
    )
    task = ScoringTask(
        network=network,
        candidates=candidates,
        batches=PICTURES // BATCH,
        forward=lambda index: yolo.head_outputs(
            network, pictures.images(index * BATCH, (index + 1) * BATCH)
        ),
        losses=lambda index, outputs: yolo.picture_losses(
            network, outputs, pictures.labels[index * BATCH : (index + 1) * BATCH]
        ),
    )
    return task, source


def _plain(task: ScoringTask) -> tuple[Callable[[], None], dict[str, object]]:
    task.network.requires_grad_(True)

    def run(batches: int) -> None:
        for index in range(batches):
            task.losses(index, task.forward(index)).sum().backward()
            task.network.zero_grad(set_to_none=True)

    run(1)
    return lambda: run(task.batches), {}


def _scores(task: ScoringTask, wanted: str) -> tuple[Callable[[], None], dict[str, object]]:
    scored = tuple(c for c in task.candidates if applicable(c, wanted))
    task = replace(task, candidates=scored)
    solved = {}

    def solve() -> None:
        solved.update(fitted_substitutes(task, wanted, _quietly)[0])

    def run(task: ScoringTask) -> None:
        moments, _ = gradient_moments(task, solved, _quietly)
        assert all(table.layers for table in gradient_tables(moments))

    solving = cost_of(solve)
    run(replace(task, batches=1))
    facts = {
        "candidates": len(scored),
        "substitutes": sum(len(choices) for choices in solved.values()),
        "solving": asdict(solving),
    }
    return lambda: run(task), facts


def _read(pictures: Sequence[Picture]) -> PictureTensor:
    return read_pictures(pictures, InputSpec(size=(SIDE_PX, SIDE_PX)), label="Reading pictures")


def _quietly(batches: Iterable[int], label: str, total: int) -> Iterable[int]:
    return batches


def _ratios(found: Mapping[str, Sequence[Report]], scored: str) -> dict[str, Ratio]:
    """Compare an arm with the plain pass in every field of `Cost`."""
    return {
        name: ratio(
            [report["cost"][name] for report in found[scored]],
            [report["cost"][name] for report in found[PLAIN]],
        )
        for name in found[PLAIN][0]["cost"]
    }


def _show(
    found: Mapping[str, Sequence[Report]], ratios: Mapping[str, Mapping[str, Ratio]]
) -> None:
    first = found[PLAIN][0]
    table = Table(
        title=f"{PICTURES} pictures, {SIDE_PX} px, batch {BATCH}: {first['source']}",
        caption="medians over the rounds; ratio of medians [least, most of one round]",
    )
    for heading in ("", "time", "ratio", "processor time", "ratio", "memory", "ratio", "peak"):
        table.add_column(heading, justify="right" if heading else "left")
    for arm_name, reports in found.items():
        middle = {
            name: median(report["cost"][name] for report in reports) for name in first["cost"]
        }
        against = ratios.get(arm_name, {})
        table.add_row(
            _words(reports[0], arm_name),
            f"{middle['wall_s']:.2f} s",
            str(against.get("wall_s", "")),
            f"{middle['cpu_s']:.2f} s",
            str(against.get("cpu_s", "")),
            f"{middle['growth_bytes'] / 2**20:.0f} MiB",
            str(against.get("growth_bytes", "")),
            f"{middle['peak_bytes'] / 2**20:.0f} MiB",
        )
    console = Console()
    console.print(table)
    for arm_name in SCORED:
        solving_s = median(report["solving"]["wall_s"] for report in found[arm_name])
        verdict = "met" if _is_met(ratios[arm_name]) else "MISSED"
        console.print(
            f"{arm_name}: time at most {TIME_BAR} ×, memory at most {MEMORY_BAR} ×: {verdict}"
            f" (solving the substitutes first, not counted: {solving_s:.2f} s)"
        )


def _words(report: Report, arm_name: str) -> str:
    if arm_name == PLAIN:
        return "forward, backward, weight gradients"
    return f"scores, {arm_name}: {report['candidates']} layers, {report['substitutes']} substitutes"


def _is_met(ratios: Mapping[str, Ratio]) -> bool:
    return ratios["wall_s"].value <= TIME_BAR and ratios["growth_bytes"].value <= MEMORY_BAR


if __name__ == "__main__":
    main()
