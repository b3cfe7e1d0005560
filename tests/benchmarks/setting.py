"""What the benchmarks share: the model, the pictures, and a table as Markdown."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from runtime_bench.files import write_json
from xprune.config import make_config
from xprune.data.batches import read_pictures
from xprune.data.evaluate import network_accuracy
from xprune.run_folder import RunFolder
from xprune.stages.workbench import Workbench

RESULTS = Path(__file__).parent / "results"
DATA_VARIABLE = "XPRUNE_DATA"


def data_folder() -> Path:
    """Return the folder that XPRUNE_DATA names."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        raise click.UsageError(
            f"set {DATA_VARIABLE} to the folder with coco_val, coco_pool, weights"
        )
    return Path(folder)


def coco_workbench(folder: Path, **options: Any) -> Workbench:
    """Return YOLOv8n at 320 px, tested on coco_val, calibrated on coco_pool without labels."""
    data = data_folder()
    config = make_config(
        {
            "model": "yolov8n",
            "weights": str(data / "weights" / "yolov8n_coco.pth"),
            "data": str(data / "coco_val" / "instances.json"),
            "calibration": str(data / "coco_pool" / "images"),
            "imgsz": (320, 320),
            **options,
        }
    )
    return Workbench(RunFolder(folder, config), lambda line: click.echo(line, err=True))


def builtin_workbench(folder: Path, **options: Any) -> Workbench:
    """Return the built-in detector on the built-in scenes, as `make demo` runs it."""
    return Workbench(RunFolder(folder, make_config(options)), click.echo)


def measured_ap(bench: Workbench) -> Callable[[], float]:
    """Return what measures the AP of the workbench's network, as it is then, in PyTorch."""
    pictures = bench.sets.test.pictures
    tensors = read_pictures(pictures, bench.spec, label="Reading test pictures")
    return lambda: (
        network_accuracy(
            bench.decoded(bench.detector.network),
            pictures,
            tensors,
            spec=bench.spec,
            names=bench.detector.names,
            quiet=True,
        ).ap
    )


def write_result(name: str, content: object) -> None:
    """Write `results/<name>.json`."""
    write_json(RESULTS / f"{name}.json", content)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that can stand in the README."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
