"""The frontier of YOLOv8n: ours beside what a user could do instead, at the same latencies.

    XPRUNE_DATA=... python -m tests.benchmarks.frontier --threads 1 --out FOLDER

Scored on coco_val, calibrated and distilled on coco_pool without its labels. Every method gets
the same recovery and our export; a latency is a share of that of the unpruned float model at
320 px in plain export, all artifacts timed in turn in one run. What is whole in FOLDER is not
made again, so methods and budgets can be added run by run; the result is of all of them.
Torch-Pruning is in the extra `peers`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from runtime_bench.files import write_json
from tests.benchmarks.setting import (
    DATA_VARIABLE,
    cifar_options,
    data_folder,
    write_result,
)
from tests.benchmarks.train_detector import WEIGHTS, bccd_labels, read_training
from xprune.config import BUILTIN
from xprune.frontier.arms import Method
from xprune.frontier.make import make_frontier
from xprune.frontier.methods import METHODS
from xprune.frontier.recheck import recheck_points
from xprune.frontier.settings import FrontierSettings
from xprune.frontier.table import markdown_of, show_frontier

PROGRAM = "python -m tests.benchmarks.frontier"
FLOAT_BUDGETS = (0.8, 0.67)
BUDGETS = (0.6, 0.5, 0.4)
# At the budgets of a float model, methods in 32 bits; at the lower ones, those that start from
# 8 bits: in 32 bits, peers keep next to nothing at 0.67 already.
FLOAT = (
    "ours_float",
    "knobs_only_float",
    "input",
    "torch_pruning_l1",
    "torch_pruning_taylor",
    "grad_act",
    "grad_act_zeroed",
    "l1",
    "random",
)
ALL = (
    "ours",
    "knobs_only",
    "input",
    "input_int8",
    "torch_pruning_l1_int8",
    "torch_pruning_taylor_int8",
    "grad_act_int8",
    "l1_int8",
    "random_int8",
)
BUILTIN_TEST_PICTURES = 3000
CIFAR_TEST_PICTURES = 5000
HALF = 500
MINUTES = 5.0


@click.command()
@click.option("--budget", "budgets", type=float, multiple=True, help="[default: all five]")
@click.option("--method", "only", multiple=True, help="[default: all]")
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--images", type=int, help="Test pictures.  [default: all]")
@click.option("--calibration-images", type=int, default=64, show_default=True)
@click.option("--recover-minutes", type=float, default=MINUTES, show_default=True)
@click.option("--builtin", is_flag=True, help="The built-in detector on built-in pictures.")
@click.option("--cifar", is_flag=True, help="ResNet-56 on CIFAR-10.")
@click.option("--halves", is_flag=True, help="Distil on half of coco_pool, test on the rest.")
@click.option(
    "--detector",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What train_detector left, on pictures of its kind.",
)
@click.option("--recheck", metavar="METHOD", help="Make its points anew, and compare.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    budgets: tuple[float, ...],
    only: tuple[str, ...],
    *,
    threads: int,
    images: int | None,
    calibration_images: int,
    recover_minutes: float,
    builtin: bool,
    cifar: bool,
    halves: bool,
    detector: Path | None,
    recheck: str | None,
    out: Path,
) -> None:
    """Make what is missing, time all, and write results/frontier_*.json."""
    methods = known_methods()
    if recheck:
        if not recheck_points(out, recheck, methods, budgets=budgets, say=_say):
            raise SystemExit(1)
        return
    if cifar:
        name, options = "frontier_resnet56_cifar", _cifar(out, images)
    elif detector is not None:
        name, options = _trained(detector, images)
    else:
        name, options = _setting(out, images, builtin=builtin, halves=halves)
    options |= {"threads": threads, "calibration_images": calibration_images}
    asked = [
        (method, budget)
        for budget in budgets or (*FLOAT_BUDGETS, *BUDGETS)
        for method in only or (FLOAT if budget in FLOAT_BUDGETS else ALL)
    ]
    settings = FrontierSettings(
        {option: value for option, value in options.items() if value is not None},
        tuple(asked),
        recover_minutes=recover_minutes,
    )
    content = make_frontier(settings, out, methods, say=_say, program=PROGRAM)
    flags = " --builtin" * builtin + " --cifar" * cifar + " --halves" * halves
    flags += " --detector TRAINED" * (detector is not None)
    trained = {} if detector is None else {detector: "TRAINED"}
    command = f"{PROGRAM} --threads {threads}{flags}"
    if images is None and recover_minutes == MINUTES:  # else it is a trial
        told = anyones(content, command, {out: "FOLDER"} | trained)
        write_result(name, {**told, "command": f"{command} --out FOLDER"})
    show_frontier(content, out)
    click.echo(markdown_of(content))


def known_methods() -> Mapping[str, Method]:
    """Return the methods of the product and, where they are installed, the peers."""
    try:
        import torch_pruning  # noqa: F401
    except ImportError:
        raise click.UsageError(
            "install the extra `peers`: pip install -c constraints.txt '.[prune,peers]'"
        ) from None
    from tests.benchmarks.peers.methods import PEERS

    return {**METHODS, **PEERS}


def _setting(
    out: Path, images: int | None, *, builtin: bool, halves: bool
) -> tuple[str, dict[str, Any]]:
    """Return the result's name, and the model and pictures as options."""
    if builtin:
        return "frontier_builtin", {
            "model": "builtin",
            "images": images or BUILTIN_TEST_PICTURES,
        }
    data = data_folder()
    options: dict[str, Any] = {
        "model": "yolov8n",
        "weights": str(data / "weights" / "yolov8n_coco.pth"),
        "data": str(data / "coco_val" / "instances.json"),
        "calibration": str(data / "coco_pool" / "images"),
        "imgsz": (320, 320),
        "images": images,
    }
    if halves:
        # Hidden, since the folder of a frontier holds nothing else when it begins.
        test, calibration = write_halves(data, out / ".pictures")
        return "frontier_yolov8n_coco_halves", {
            **options,
            "data": str(test),
            "calibration": str(calibration),
        }
    return "frontier_yolov8n_coco_val", options


def _cifar(out: Path, images: int | None) -> dict[str, Any]:
    """Return ResNet-56 and its pictures as options."""
    pictures = out / ".pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    return cifar_options(pictures) | {"images": images or CIFAR_TEST_PICTURES}


def _trained(folder: Path, images: int | None) -> tuple[str, dict[str, Any]]:
    """Return the result's name, and a detector that `train_detector` left as options."""
    recipe = read_training(folder)
    name = f"frontier_{recipe.model.replace(':', '_')}_{recipe.data}"
    options: dict[str, Any] = {"model": str(folder / WEIGHTS), "imgsz": recipe.final_imgsz}
    if recipe.data == BUILTIN:
        return name, options | {"images": images or BUILTIN_TEST_PICTURES}
    test, train = (str(bccd_labels(part)) for part in ("test", "train"))
    return name, options | {"data": test, "calibration": train, "images": images}


def anyones(
    content: Mapping[str, Any], command: str, named: Mapping[Path, str]
) -> dict[str, Any]:
    """Return a result with commands and places that hold on any machine.

    Args:
        content: What a frontier left.
        command: What makes it, without a folder.
        named: What folders of this machine are called instead.
    """
    places = {place: name for path, name in named.items() for place in (path, path.resolve())}
    if os.environ.get(DATA_VARIABLE):
        places[data_folder()] = f"${DATA_VARIABLE}"

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: told(entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [told(entry) for entry in value]
        if isinstance(value, str):
            for place, name in places.items():
                if Path(value).is_relative_to(place):
                    return str(Path(name, Path(value).relative_to(place)))
        return value

    result: dict[str, Any] = told(dict(content))
    for point in result["points"]:
        what = f"--method {point['method']} --budget {point['budget']:g}"
        point["command"] = f"{command} {what} --out FOLDER"
    return result


def write_halves(data: Path, folder: Path) -> tuple[Path, Path]:
    """Write a COCO JSON of half of coco_pool with coco_val, and a folder of the other half.

    Args:
        data: With coco_pool and coco_val.
        folder: Where they go; what is there already is kept.
    """
    labels, calibration = folder / "instances.json", folder / "calibration"
    if labels.exists():
        return labels, calibration
    pool, val = (
        json.loads((data / name / "instances.json").read_text())
        for name in ("coco_pool", "coco_val")
    )
    assert pool["categories"] == val["categories"]
    pictures = sorted(pool["images"], key=lambda image: image["id"])
    random.Random(0).shuffle(pictures)
    _copy_pictures(pictures[:HALF], data / "coco_pool" / "images", calibration)
    tested = [*pictures[HALF:], *val["images"]]
    _copy_pictures(pictures[HALF:], data / "coco_pool" / "images", folder / "images")
    _copy_pictures(val["images"], data / "coco_val" / "images", folder / "images")
    ids = {image["id"] for image in tested}
    boxes = [
        one for one in (*pool["annotations"], *val["annotations"]) if one["image_id"] in ids
    ]
    write_json(
        labels,
        {
            "images": tested,
            "annotations": [{**one, "id": number} for number, one in enumerate(boxes, start=1)],
            "categories": val["categories"],
        },
    )
    return labels, calibration


def _copy_pictures(pictures: Iterable[Mapping[str, Any]], source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        shutil.copyfile(source / picture["file_name"], target / picture["file_name"])


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
