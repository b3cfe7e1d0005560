"""Train the built-in detector: `python -m xprune.builtin.train`.

The result is a stock YOLOv8 of smaller width, trained on the scenes by Ultralytics' own loss.
"""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save
from torch import Tensor, nn

from runtime_bench.errors import EdgeError
from runtime_bench.files import write_bytes
from xprune.builtin.pool import Pool, draw_pool, make_batch
from xprune.builtin.scenes import CLASS_NAMES, TRAIN_SEED

# Stock YOLOv8 at a scale of our own, "p": yolov8n has (0.33, 0.25, 1024) for depth, width and
# the most channels before the width is applied.
ARCHITECTURE: dict[str, Any] = {
    "nc": len(CLASS_NAMES),
    "scales": {"p": [0.33, 0.1875, 1024]},
    "scale": "p",
    "backbone": [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 3, "C2f", [128, True]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 6, "C2f", [256, True]],
        [-1, 1, "Conv", [512, 3, 2]],
        [-1, 6, "C2f", [512, True]],
        [-1, 1, "Conv", [1024, 3, 2]],
        [-1, 3, "C2f", [1024, True]],
        [-1, 1, "SPPF", [1024, 5]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 6], 1, "Concat", [1]],
        [-1, 3, "C2f", [512]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 4], 1, "Concat", [1]],
        [-1, 3, "C2f", [256]],
        [-1, 1, "Conv", [256, 3, 2]],
        [[-1, 12], 1, "Concat", [1]],
        [-1, 3, "C2f", [512]],
        [-1, 1, "Conv", [512, 3, 2]],
        [[-1, 9], 1, "Concat", [1]],
        [-1, 3, "C2f", [1024]],
        [[15, 18, 21], 1, "Detect", ["nc"]],
    ],
}

_PEAK_RATE, _LAST_RATE = 1.5e-3, 2e-5
# The last steps, on larger pictures, start again from here: there is still much to learn.
_FINAL_PEAK_RATE = 5e-4
_FINAL_LEVEL_PART = 0.625
_WARMUP_STEPS = 400
_WEIGHT_DECAY = 0.02
_LONGEST_GRADIENT = 10.0
_EMA_DECAY, _EMA_RAMP_STEPS = 0.9985, 400
_SAVE_EVERY = 250


@dataclass(frozen=True)
class Settings:
    """What decides the weights, but for the machine.

    Attributes:
        steps: At the first size; the learning rate depends on it.
        final_steps: At the final size, on pictures that are not scaled or moved any more.
        batch: Pictures in a step.
        size_px: Side of the square that pictures are letterboxed to at first, which is quick.
        final_size_px: The same for the last steps, and for the detector afterwards.
        seed: Of the first weights and of the batches, not of the scenes.
        pool: Number of scenes that batches are chosen from.
    """

    steps: int
    final_steps: int
    batch: int
    size_px: int
    final_size_px: int
    seed: int
    pool: int

    @property
    def all_steps(self) -> int:
        """Steps of the whole training."""
        return self.steps + self.final_steps


@dataclass
class Training:
    """What changes from step to step; `average` is what gets saved."""

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0


def start_training(seed: int) -> Training:
    """Return an untrained network with its optimizer, reproducible by seed."""
    from ultralytics.nn.tasks import DetectionModel

    def build() -> nn.Module:
        torch.manual_seed(seed)
        architecture = json.loads(json.dumps(ARCHITECTURE))
        network = cast("nn.Module", DetectionModel(architecture, verbose=False))  # type: ignore[no-untyped-call]
        # Ultralytics' loss reads its gains here; these are its defaults.
        setattr(network, "args", SimpleNamespace(box=7.5, cls=0.5, dfl=1.5))  # noqa: B010
        return network.to(memory_format=torch.channels_last)

    network, average = build(), build().eval().requires_grad_(False)
    return Training(network, average, adamw(network, _PEAK_RATE))


def adamw(network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Return AdamW for a network; what has one dimension, such as a bias, does not decay."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": _WEIGHT_DECAY},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=rate,
        betas=(0.9, 0.99),
    )


def learning_rate(step: int, settings: Settings) -> float:
    """Return the rate of a step: up in a line, down in a cosine; then the final steps'."""
    if step >= settings.steps:
        return _final_rate((step - settings.steps) / settings.final_steps)
    warmup = min(_WARMUP_STEPS, settings.steps // 10)
    if step < warmup:
        return _PEAK_RATE * (step + 1) / warmup
    # A fifth longer than it lasts: the rate is low, but not at its end, when the size changes.
    length = settings.steps * 6 // 5
    return cosine(_PEAK_RATE, (step - warmup) / max(length - warmup, 1))


def _final_rate(part: float) -> float:
    """Return the rate after a part of the final steps: nearly level, then down in a line."""
    level = cosine(_FINAL_PEAK_RATE, 0.4 * min(part, _FINAL_LEVEL_PART))
    left = min(1.0, (1.0 - part) / (1.0 - _FINAL_LEVEL_PART))
    return _LAST_RATE + (level - _LAST_RATE) * left


def cosine(peak: float, part: float, *, last: float = _LAST_RATE) -> float:
    """Return the rate after a part of the steps, from 0 to 1: from the peak to the last one."""
    return last + (peak - last) * (1 + math.cos(math.pi * part)) / 2


def train_step(training: Training, pool: Pool, settings: Settings) -> dict[str, float]:
    """Take one step and return its losses by name."""
    step = training.step
    batch = make_batch(
        pool,
        count=settings.batch,
        seed=settings.seed,
        step=step,
        vary_geometry=step < settings.steps,
    )
    batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
    for group in training.optimizer.param_groups:
        group["lr"] = learning_rate(step, settings)

    training.network.train()
    loss, parts = training.network(batch)
    training.optimizer.zero_grad()
    loss.sum().backward()
    nn.utils.clip_grad_norm_(training.network.parameters(), _LONGEST_GRADIENT)
    training.optimizer.step()

    follow(training.average, training.network, step)
    training.step = step + 1
    return {name: float(value) for name, value in parts.items()}


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, step: int) -> None:
    """Move the averaged weights towards the trained ones, faster in the beginning."""
    decay = _EMA_DECAY * (1 - math.exp(-(step + 1) / _EMA_RAMP_STEPS))
    new = network.state_dict()
    for name, kept in average.state_dict().items():
        if kept.dtype.is_floating_point:
            kept.lerp_(new[name], 1 - decay)
        else:
            kept.copy_(new[name])


def save_weights(path: Path, average: nn.Module, size_px: int) -> None:
    """Write the averaged weights in half precision, all at once or not at all."""
    tensors = {name: _half(value) for name, value in average.state_dict().items()}
    metadata = {
        "format": "xprune-edge checkpoint",
        "version": "1",
        "architecture": json.dumps(ARCHITECTURE),
        "names": json.dumps(CLASS_NAMES),
        "plan": "[]",
        "licence": "AGPL-3.0",
        "imgsz": json.dumps([size_px, size_px]),
    }
    write_bytes(path, save(tensors, metadata))


def _half(value: Tensor) -> Tensor:
    return (value.half() if value.dtype.is_floating_point else value).contiguous()


def save_state(path: Path, training: Training, settings: object) -> None:
    """Write what a later run needs to go on."""
    state = {
        "settings": vars(settings),
        "step": training.step,
        "network": training.network.state_dict(),
        "average": training.average.state_dict(),
        "optimizer": training.optimizer.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def resume(path: Path, training: Training, settings: object) -> None:
    """Go on from what `save_state` wrote, in place.

    Raises:
        EdgeError: If the state belongs to a training with other settings.
    """
    state = torch.load(path, weights_only=True)
    if state["settings"] != vars(settings):
        raise EdgeError(
            f"{path} belongs to a training with other settings, {state['settings']}; "
            "give the same ones, or remove the file to start again"
        )
    training.network.load_state_dict(state["network"])
    training.average.load_state_dict(state["average"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.step = state["step"]


def run_training(out: Path, settings: Settings, console: Console) -> None:
    """Train to the end, saving a snapshot and a state on the way; the state goes at the end."""
    training = start_training(settings.seed)
    state_path = out.with_name(f"{out.stem}.training.pt")
    if state_path.exists():
        resume(state_path, training, settings)
    pool: Pool | None = None
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[loss]}"), console=console) as progress:
        bar = progress.add_task("training", total=settings.all_steps, loss="")
        while training.step < settings.all_steps:
            size_px = settings.size_px
            if training.step >= settings.steps:
                size_px = settings.final_size_px
            if pool is None or pool.pictures.shape[-1] != size_px:
                progress.log(f"drawing {settings.pool} scenes at {size_px} px")
                pool = draw_pool(range(settings.pool), seed=TRAIN_SEED, size_px=size_px)
            parts = train_step(training, pool, settings)
            text = " ".join(f"{name} {value:.3f}" for name, value in parts.items())
            progress.update(bar, completed=training.step, loss=text)
            if training.step % _SAVE_EVERY == 0 or training.step == settings.all_steps:
                save_weights(out, training.average, settings.final_size_px)
                save_state(state_path, training, settings)
                progress.log(f"step {training.step}: {text}")
    state_path.unlink()


_COUNT = click.IntRange(min=1)


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--steps", default=7500, type=_COUNT, show_default=True)
@click.option("--final-steps", default=1200, type=_COUNT, show_default=True)
@click.option("--batch", default=16, type=_COUNT, show_default=True, help="Pictures in a step.")
@click.option(
    "--size", "size_px", default=192, type=_COUNT, show_default=True, help="Side, px."
)
@click.option(
    "--final-size",
    "final_size_px",
    default=256,
    type=_COUNT,
    show_default=True,
    help="Side in the final steps, px.",
)
@click.option(
    "--pool", default=8000, type=_COUNT, show_default=True, help="Scenes drawn to train on."
)
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=2, type=_COUNT, show_default=True)
def main(out: Path, threads: int, **settings: int) -> None:
    """Train the built-in detector and write its weights to OUT."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="xprune-ultralytics-") as settings_folder:
        # Ultralytics reads these when it is imported, and would write into the home folder.
        os.environ["YOLO_AUTOINSTALL"] = "False"
        os.environ["YOLO_OFFLINE"] = "True"
        os.environ["YOLO_CONFIG_DIR"] = settings_folder
        try:
            run_training(out, Settings(**settings), Console())
        except EdgeError as error:
            raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
