"""The options that several commands share, each with its help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from xprune.config import CRITERION_NAMES

Command = Callable[..., None]

MODEL_OPTIONS = (
    click.option(
        "--model", help="A known name, a YAML, or a weights file.  [default: builtin]"
    ),
    click.option(
        "--weights",
        help="For a name or YAML: a file, none (random), or DEFAULT (torchvision's own).",
    ),
    click.option(
        "--imgsz",
        metavar="S|HxW|auto",
        help="Input size; auto: what keeps most.  [default: the model's own]",
    ),
    click.option(
        "--regions",
        type=click.IntRange(1, 10_000),
        help="That a Faster R-CNN looks at again.  [default: the model's own]",
    ),
    click.option(
        "--seed", type=click.IntRange(0), help="Of splits and random scores.  [default: 0]"
    ),
)
RUN_OPTIONS = (
    *MODEL_OPTIONS,
    click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        help="Options as TOML; one that is given here goes before.",
    ),
    click.option(
        "--data",
        help="Labelled pictures: COCO JSON, data.yaml, or a folder for each class.  "
        "[default: builtin]",
    ),
    click.option("--images-dir", help="Where the pictures of a COCO JSON lie."),
    click.option(
        "--calibration",
        help="Pictures to score and refit on, labelled or not.  [default: a part of --data]",
    ),
    click.option("--images", type=click.IntRange(1), help="Test pictures.  [default: all]"),
    click.option(
        "--calibration-images",
        type=click.IntRange(1),
        help="Pictures to score on.  [default: 64]",
    ),
    click.option("--conf", type=float, help="Score from which a box counts.  [default: 0.25]"),
    click.option("--skip-bad", is_flag=True, default=None, help="List faulty data and go on."),
    click.option(
        "--criterion",
        help=f"Importance is measured by {', '.join(CRITERION_NAMES)}.  [default: divergence]",
    ),
    click.option(
        "--substitute",
        help="zero, identity, affine, linear, or auto: each layer's best.  [default: auto]",
    ),
    click.option(
        "--threads", type=click.IntRange(1, 1024), help="Of onnxruntime.  [default: all]"
    ),
    click.option("--speedup", type=float, help="Wanted latency before/after.  [default: 1.2]"),
    click.option("--latency-ms", type=float, help="Wanted latency, instead of a speed-up."),
    click.option("--layers", type=int, help="Wanted number of layers, instead of a speed-up."),
    click.option(
        "--fraction", type=float, help="Wanted share of convolutions (the paper's rule)."
    ),
    click.option(
        "--search",
        help="Try plans out: none, evolution, beam or dp.  [default: none]",
    ),
    click.option(
        "--search-seconds", type=click.IntRange(1), help="For the search.  [default: 300]"
    ),
    click.option(
        "--rounds", type=click.IntRange(1, 100), help="Score anew in steps.  [default: 1]"
    ),
    click.option(
        "--latency-table", help="Plan for the machine of these timings, not for this one."
    ),
    click.option(
        "--recover",
        help="none; refit: solve what stays as well; distill: then learn from the unpruned "
        "model, without labels; finetune: then from labels.  [default: refit]",
    ),
    click.option(
        "--recover-minutes", type=float, help="For distill or finetune.  [default: 10]"
    ),
    click.option(
        "--recover-images",
        type=click.IntRange(2),
        help="Pictures for them.  [default: all that are not for testing]",
    ),
    click.option(
        "--precision",
        help="float32, int8, float16, or auto: what keeps most.  [default: float32]",
    ),
    click.option(
        "--base-imgsz",
        metavar="S|HxW",
        help="Input size of the unpruned model that speed-ups are against.  [default: imgsz]",
    ),
    click.option("--raw", is_flag=True, default=None, help="Ship the raw head, without NMS."),
    click.option(
        "--rewrites", help="on or off: rewrite the graph where that is faster.  [default: on]"
    ),
    click.option(
        "--stored-pictures",
        type=click.IntRange(0, 64),
        help="Calibration pictures that go into the artifact, for gate.  [default: 4]",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        help="The run's folder.  [default: runs/<model>-<n>]",
    ),
)


def with_options(options: tuple[Any, ...]) -> Callable[[Command], Command]:
    """Return a decorator that gives a command these options, in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
