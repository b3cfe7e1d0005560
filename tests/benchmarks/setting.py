"""What the benchmarks share: the model, the pictures, and a table as Markdown."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from runtime_bench.accuracy.predictions import main_figure
from runtime_bench.artifact.manifest import OutputSpec
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


def cifar_options(folder: Path) -> dict[str, Any]:
    """Return ResNet-56 and CIFAR-10 as options; its pictures are unpacked into `folder`."""
    data = data_folder()
    for archive, name in (("test.zip", "test"), ("train_10k.zip", "train")):
        if not (folder / name).exists():
            with zipfile.ZipFile(data / "cifar10_jpeg" / archive) as pictures:
                pictures.extractall(folder)
    return {
        "model": "resnet56_cifar",
        "weights": str(data / "weights" / "resnet56-4bfd9763.th"),
        "data": str(folder / "test"),
        "calibration": str(folder / "train"),
    }


def cifar_workbench(folder: Path, **options: Any) -> Workbench:
    """Return ResNet-56, tested on CIFAR-10's test pictures, calibrated on those to train on."""
    pictures = folder / ".pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    config = make_config(cifar_options(pictures) | options)
    return Workbench(RunFolder(folder, config), lambda line: click.echo(line, err=True))


def builtin_workbench(folder: Path, **options: Any) -> Workbench:
    """Return the built-in detector on the built-in scenes, as `make demo` runs it."""
    return Workbench(RunFolder(folder, make_config(options)), click.echo)


def measured_ap(bench: Workbench) -> Callable[[], float]:
    """Return what measures the AP of the workbench's network, as it is then, in PyTorch."""
    test, manifest = bench.sets.test, bench.manifest(OutputSpec())
    tensors = read_pictures(test.pictures, bench.spec, label="Reading test pictures")
    return lambda: main_figure(
        network_accuracy(
            bench.decoded(bench.detector.network), test, tensors, manifest, quiet=True
        )
    )


def write_result(name: str, content: object) -> None:
    """Write `results/<name>.json`."""
    write_json(RESULTS / f"{name}.json", content)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that can stand in the README."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
