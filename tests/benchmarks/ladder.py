"""What each rung of the ladder costs and wins: variance missed, latency and AP, layer by layer.

One layer of YOLOv8n at 320 px is replaced at a time and only its substitute is solved, on
pictures of coco_pool; AP is taken on other pictures of coco_pool, so the test set stays unseen.
Latency is a ratio to the unpruned network's, both raw graphs timed in turn.

    XPRUNE_DATA=... python -m tests.benchmarks.ladder --images 200 --latency
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from runtime_bench.cli import EdgeGroup
from runtime_bench.progress import track
from runtime_bench.timing.compare import compare_in_turn
from tests.benchmarks.setting import (
    coco_workbench,
    data_folder,
    markdown,
    measured_ap,
    write_result,
)
from xprune.attribution.attribute import fitted_substitutes, gradient_moments
from xprune.attribution.gates import closed_gates
from xprune.layers.substitutes import replacement, substitute_macs
from xprune.layers.surgery import apply_plan
from xprune.stages.attribute import scoring_task
from xprune.stages.workbench import Workbench

# Blocks and plain convolutions, early and late, with and without a stride, and activations.
LAYERS = (
    "model.1.conv",
    "model.1.act",
    "model.2",
    "model.2.m.0",
    "model.4.m.1",
    "model.4.m.0.cv1.conv",
    "model.5.conv",
    "model.6",
    "model.7.conv",
    "model.8.m.0",
    "model.15.m.0",
    "model.22.cv2.0",
    "model.22.cv3.0",
    "model.22.cv3.0.1.conv",
    "model.22.cv3.1.0.conv",
)


@click.group(cls=EdgeGroup, invoke_without_command=True)
@click.option("--images", type=click.IntRange(1), default=200, show_default=True)
@click.option("--layers", default=",".join(LAYERS), help="Names with commas.")
@click.option("--latency", is_flag=True, help="Time each rung too.")
def main(images: int, layers: str, latency: bool) -> None:
    """Replace one layer at a time by each of its substitutes."""
    with tempfile.TemporaryDirectory() as folder:
        bench = coco_workbench(
            Path(folder),
            data=str(data_folder() / "coco_pool" / "instances.json"),
            calibration=None,
            images=images,
            threads=1,
        )
        rows = _measured(bench, layers.split(","), latency=latency)
    write_result("ladder", {"images": images, "rungs": rows})
    header = ("layer", "substitute", "MACs", "missed", "fisher", "AP lost", "latency")
    click.echo(markdown(header, [_shown(row) for row in rows]))


def _measured(bench: Workbench, names: list[str], *, latency: bool) -> list[dict[str, Any]]:
    candidates = tuple(c for c in bench.candidates if c.name in names)
    task = scoring_task(bench, candidates)
    modules, errors = fitted_substitutes(task, "auto", _progress)
    moments, _ = gradient_moments(task, modules, _progress)
    network, ap = bench.detector.network, measured_ap(bench)

    base, rows = ap(), []
    rungs = [(candidate, name) for candidate in candidates for name in modules[candidate.name]]
    for candidate, name in track(rungs, label="Replacing layers one by one"):
        with closed_gates(network, {candidate.name: modules[candidate.name][name]}):
            lost = base - ap()
        rows.append(
            {
                "layer": candidate.name,
                "substitute": name,
                "macs_share": substitute_macs(candidate, name) / max(1, candidate.macs),
                "missed": errors.get(candidate.name, {}).get(name),
                "fisher": float(moments[candidate.name].removal_sum[name].square().mean()),
                "ap_base": base,
                "ap_lost": lost,
                "latency_ratio": _ratio(bench, candidate, name) if latency else None,
            }
        )
    return rows


def _ratio(bench: Workbench, candidate: Any, name: str) -> float:
    cut = bench.raw_graph(apply_plan(bench.detector.network, [replacement(candidate, name)]))
    base, other = bench.runner(bench.unpruned_graph), bench.runner(cut)
    return 1 / compare_in_turn(base, other, min_rounds=100, min_time_s=1.5).ratio


def _shown(row: dict[str, Any]) -> list[str]:
    missed, ratio = row["missed"], row["latency_ratio"]
    return [
        row["layer"],
        row["substitute"],
        f"{row['macs_share']:.2f}",
        "" if missed is None else f"{missed:.3f}",
        f"{row['fisher']:.2g}",
        f"{row['ap_lost']:.4f}",
        "" if ratio is None else f"{ratio:.3f}",
    ]


def _progress(batches: Iterable[int], label: str, total: int) -> Iterator[int]:
    return track(batches, label=label, total=total)


if __name__ == "__main__":
    main()
