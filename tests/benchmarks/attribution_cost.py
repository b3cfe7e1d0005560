"""What attribution costs, against a plain forward and backward pass of the same loss.

The plain pass computes the gradients of all weights, as training does. Attribution needs none
of them, but gives `grad_act*`, `removal*` and `fisher` for every candidate. Both go through the
same pictures in the same batches, after one batch to warm up; each arm of each round is a fresh
process.

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
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from torch import nn

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.cli import EdgeGroup
from runtime_bench.data.dataset import Dataset, match_classes, read_dataset
from runtime_bench.files import write_json
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
from xprune.layers.substitutes import REMOVED, applicable
from xprune.models.families import YOLO
from xprune.models.load import NO_WEIGHTS, load_detector

PICTURES, BATCH, SIDE_PX = 64, 16, 320
# What a layer is scored against: its input, all that removes it, or the whole ladder.
SCORED: dict[str, tuple[str, ...]] = {
    "identity": ("identity",),
    "removed": REMOVED,
    "auto": ("auto",),
}
# A rung that costs nearly as much as its layer cannot be scored for less: `auto` is only shown.
BARRED = ("identity", "removed")
PLAIN = "plain"
ARMS = (PLAIN, *SCORED)
TIME_BAR, MEMORY_BAR = 1.5, 1.3

MODULE = "tests.benchmarks.attribution_cost"
REAL = "COCO weights, pictures and labels"
MADE_UP = "random weights and built-in scenes, since XPRUNE_DATA is not set"

# Field of `Cost` -> what it is called, its unit, and how many of the field's own unit that is.
SHOWN = {
    "wall_s": ("time", "s", 1),
    "cpu_s": ("processor time", "s", 1),
    "growth_bytes": ("memory, growth", "MiB", 1 << 20),
    "peak_bytes": ("memory, all", "MiB", 1 << 20),
}

# Field of `Cost` -> what it is called, its unit, and how many of the field's own unit that is.
SHOWN = {
    "wall_s": ("time", "s", 1),
    "cpu_s": ("processor time", "s", 1),
    "growth_bytes": ("memory, growth", "MiB", 1 << 20),
    "peak_bytes": ("memory, all", "MiB", 1 << 20),
}

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
    met = {arm_name: _is_met(ratios[arm_name]) for arm_name in BARRED}
    result = {
        "pictures": PICTURES,
        "batch": BATCH,
        "side_px": SIDE_PX,
        "bars": {"wall_s": TIME_BAR, "growth_bytes": MEMORY_BAR},
        "met": met,
        "ratios": {
            arm_name: {name: asdict(value) for name, value in of_arm.items()}
            for arm_name, of_arm in ratios.items()
        },
        "rounds": found,
        **environment(threads=threads),
    }
    write_json(RESULTS / "attribution_cost.json", result)
    _show(found, ratios)
    context.exit(0 if all(met.values()) else 1)


@main.command(hidden=True)
@click.argument("name", type=click.Choice(ARMS))
def arm(name: str) -> None:
    """Measure one arm in this process, and write a line of JSON."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    task, source = _task()
    work, facts = _plain(task) if name == PLAIN else _scores(task, SCORED[name])
    click.echo(json.dumps({"source": source, "cost": asdict(cost_of(work)), **facts}))


def _task() -> tuple[ScoringTask, str]:
    """Return the network on its pictures, and words for where both are from."""
    data = os.environ.get("XPRUNE_DATA")
    network, pictures = _made_up() if data is None else _real(Path(data))
    candidates = find_candidates(
        network, lambda: YOLO.head_outputs(network, torch.zeros(1, 3, SIDE_PX, SIDE_PX))
    )

    def losses(index: int, outputs: Any) -> torch.Tensor:
        targets = pictures.labels[index * BATCH : (index + 1) * BATCH]
        return YOLO.picture_losses(network, outputs, targets)

    task = ScoringTask(
        network=network,
        candidates=candidates,
        batches=PICTURES // BATCH,
        forward=lambda index: YOLO.head_outputs(
            network, pictures.images(index * BATCH, (index + 1) * BATCH)
        ),
        losses=losses,
    )
    return task, MADE_UP if data is None else REAL


def _real(data: Path) -> tuple[nn.Module, PictureTensor]:
    weights = data / "weights" / "yolov8n_coco.pth"
    detector = load_detector("yolov8n", weights=str(weights))
    pool = match_classes(read_dataset(data / "coco_pool" / "instances.json"), detector.names)
    return detector.network, _read(pool)


def _made_up() -> tuple[nn.Module, PictureTensor]:
    """Return a network that knows no classes; the numbers of the scenes' own serve as well."""
    with tempfile.TemporaryDirectory() as folder:
        scenes = write_scenes(Path(folder, "scenes"), count=PICTURES, seed=CALIBRATION_SEED)
        pictures = _read(read_dataset(scenes))
    return load_detector("yolov8n", weights=NO_WEIGHTS).network, pictures


def _read(dataset: Dataset) -> PictureTensor:
    spec = InputSpec(size=(SIDE_PX, SIDE_PX))
    return read_pictures(dataset.pictures[:PICTURES], spec, label="Reading pictures")


def _plain(task: ScoringTask) -> tuple[Callable[[], None], dict[str, object]]:
    task.network.requires_grad_(True)

    def run(batches: int) -> None:
        for index in range(batches):
            loss = task.losses(index, task.forward(index)).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            task.network.zero_grad(set_to_none=True)

    run(1)
    return lambda: run(task.batches), {}


def _scores(
    task: ScoringTask, wanted: Sequence[str]
) -> tuple[Callable[[], None], dict[str, object]]:
    scored = tuple(c for c in task.candidates if any(applicable(c, name) for name in wanted))
    task = replace(task, candidates=scored)
    solved: dict[str, dict[str, nn.Module]] = {}

    def solve() -> None:
        for name in wanted:
            for layer, modules in fitted_substitutes(task, name, _quietly)[0].items():
                solved.setdefault(layer, {}).update(modules)

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
    plain, *scored = ([report["cost"] for report in found[arm_name]] for arm_name in ARMS)
    table = Table(title=f"{PICTURES} pictures, {SIDE_PX} px, batch {BATCH}", box=SIMPLE)
    for heading in ("", "plain pass", *SCORED):
        table.add_column(heading, justify="right" if heading else "left")
    for words in ("candidates", "substitutes"):
        table.add_row(words, "", *(str(found[arm_name][0][words]) for arm_name in SCORED))
    for name, (words, unit, scale) in SHOWN.items():
        middle = (median(cost[name] for cost in costs) / scale for costs in (plain, *scored))
        table.add_row(
            words, *(f"{value:.{1 if scale == 1 else 0}f} {unit}" for value in middle)
        )
        table.add_row(
            "  × plain pass", "", *(str(ratios[arm_name][name]) for arm_name in SCORED)
        )
    Console().print(table)
    click.echo(f"{found[PLAIN][0]['source']}; ratios of medians [least, most of one round]")
    for arm_name in BARRED:
        solving_s = median(report["solving"]["wall_s"] for report in found[arm_name])
        verdict = "met" if _is_met(ratios[arm_name]) else "MISSED"
        click.echo(
            f"{arm_name}: time at most {TIME_BAR} x, memory at most {MEMORY_BAR} x: {verdict}"
            f" (solving its substitutes before, not counted: {solving_s:.1f} s)"
        )


def _is_met(ratios: Mapping[str, Ratio]) -> bool:
    return ratios["wall_s"].value <= TIME_BAR and ratios["growth_bytes"].value <= MEMORY_BAR


if __name__ == "__main__":
    main()
