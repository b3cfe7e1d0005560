"""How well does each criterion rank the layers of YOLOv8n?

    XPRUNE_DATA=... python -m tests.benchmarks.rank_correlation

Two answers to compare with: `ablation`, the rise of the loss on the calibration pictures, and
the AP really lost on the test pictures, when one layer alone is replaced.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from runtime_bench.progress import track
from tests.benchmarks.setting import coco_workbench, markdown, measured_ap, write_result
from xprune.attribution import criteria
from xprune.attribution.attribute import (
    ablation_tables,
    data_free_tables,
    fitted_substitutes,
    gradient_moments,
    gradient_tables,
)
from xprune.attribution.divergence import divergence_tables
from xprune.attribution.gates import closed_gates
from xprune.attribution.scores import ScoreTable
from xprune.layers.candidates import Candidate
from xprune.stages.attribute import looking_task, scoring_task
from xprune.stages.workbench import Workbench

SUBSTITUTES = ("identity", "linear")


@click.command()
@click.option("--images", type=int, help="Test pictures.  [default: all]")
@click.option("--calibration-images", default=64, show_default=True)
def main(images: int | None, calibration_images: int) -> None:
    """Print the tables and write results/rank_correlation.json."""
    with tempfile.TemporaryDirectory(prefix="rank-correlation-") as folder:
        bench = coco_workbench(
            Path(folder), images=images, calibration_images=calibration_images
        )
        layers = tuple(c for c in bench.candidates if c.keeps_shape and not c.convolution)
        results = [_ranked(bench, layers, substitute) for substitute in SUBSTITUTES]
    write_result(
        "rank_correlation",
        {
            "command": "python -m tests.benchmarks.rank_correlation",
            "calibration_pictures": calibration_images,
            "results": results,
        },
    )
    for result in results:
        click.echo(f"\n{result['substitute']}, {len(result['layers'])} layers\n")
        click.echo(markdown(("criterion", "with ablation", "with AP lost"), _rows(result)))


def _ranked(bench: Workbench, layers: tuple[Candidate, ...], substitute: str) -> dict[str, Any]:
    """Score `layers` by every criterion and by what their removal really does."""
    task = scoring_task(bench, layers)
    modules, _ = fitted_substitutes(task, substitute, _progress)
    moments, _ = gradient_moments(task, modules, _progress)
    names = [layer.name for layer in layers]
    tables = list(gradient_tables(moments))
    tables += [
        *data_free_tables(bench.detector.network, names, seed=0),
        *divergence_tables(looking_task(bench, bench.candidates), modules, tables, _progress),
        *ablation_tables(task, modules, _progress),
    ]
    lost = _lost_ap(bench, {name: modules[name][substitute] for name in names})
    by_name = {table.criterion: _values(table, names) for table in tables}
    truth = np.array([lost[name] for name in names])
    return {
        "substitute": substitute,
        "layers": names,
        "lost_ap": lost,
        "scores": {name: values.tolist() for name, values in by_name.items()},
        "with_ablation": {
            name: spearman(values, by_name[criteria.ABLATION])
            for name, values in by_name.items()
        },
        "with_lost_ap": {name: spearman(values, truth) for name, values in by_name.items()},
    }


def _lost_ap(bench: Workbench, closed: Mapping[str, Any]) -> dict[str, float]:
    """Return the AP lost on the test pictures when one layer alone is replaced."""
    network, ap = bench.detector.network, measured_ap(bench)

    base = ap()
    lost = {}
    for name in track(list(closed), label="Replacing layers one by one"):
        with closed_gates(network, {name: closed[name]}):
            lost[name] = base - ap()
    return lost


def spearman(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """Return the rank correlation; equal values share their mean rank."""
    ranks = [_ranks(values) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([(values < v).sum() + ((values == v).sum() - 1) / 2 for v in values])


def _values(table: ScoreTable, names: list[str]) -> np.ndarray[Any, Any]:
    return np.array([table.layers[name].mean for name in names])


def _rows(result: dict[str, Any]) -> list[list[str]]:
    return [
        [name, f"{result['with_ablation'][name]:.2f}", f"{result['with_lost_ap'][name]:.2f}"]
        for name in result["with_ablation"]
    ]


def _progress(batches: Any, label: str, total: int) -> Any:
    return track(batches, label=label, total=total)


if __name__ == "__main__":
    main()
