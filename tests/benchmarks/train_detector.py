"""Train one of torchvision's detectors from random weights, small but real, to measure on.

    XPRUNE_DATA=... python -m tests.benchmarks.train_detector --model retinanet:mobilenet_v2 \
        --data bccd --imgsz 192x256 --steps 1400 --batch 8 --rate 7e-4 --bfloat16 --out FOLDER
    python -m tests.benchmarks.train_detector --model retinanet:resnet18 --data builtin \
        --imgsz 192 --steps 3400 --final-imgsz 256 --final-steps 700 \
        --batch 8 --rate 7e-4 --bfloat16 --out FOLDER

The official weights are of COCO and 100 MB and more; these are meant to take 25 minutes on two
cores. Held out, the first has an AP of 0.461, after 29 minutes of one core, and the second of
0.150. Half as many steps of 16 pictures at a rate of 1e-3, the towers of its head not drawn
anew, left the second at 0.067. FOLDER gets `detector.safetensors`, which every command takes
as --model, and `training.json`. A training that was stopped goes on with the same command.
"""

from __future__ import annotations

import copy
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from runtime_bench.data.dataset import read_dataset
from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, sha256_of, write_json
from runtime_bench.machine.description import describe_machine
from runtime_bench.progress import track
from tests.benchmarks.setting import data_folder, measured_ap
from xprune.builtin.scenes import CALIBRATION_SEED, TRAIN_SEED, TRAIN_SMALLEST, write_scenes
from xprune.builtin.train import Training, adamw, cosine, follow, resume, save_state
from xprune.config import BUILTIN, make_config, parse_imgsz
from xprune.data.batches import labelled_targets
from xprune.data.pool import PicturePool, read_pool
from xprune.data.views import batch_views, chosen_pictures, moved_targets, shown
from xprune.models.detector import Detector
from xprune.models.families import MODELS, find_architecture
from xprune.models.files.checkpoint import save_checkpoint
from xprune.models.load import load_detector
from xprune.models.targets import Targets
from xprune.run_folder import RunFolder
from xprune.stages.workbench import Workbench

BCCD = "bccd"
WEIGHTS, TRAINING = "detector.safetensors", "training.json"
SCENES, HELD_OUT = 6000, 300
PEAK_RATE, LAST_RATE = 1e-3, 1e-5
WARMUP_STEPS = 150
LONGEST_GRADIENT = 5.0
SAVE_EVERY_S = 60.0


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, but for the machine.

    Attributes:
        model: torchvision's name.
        data: "builtin" or "bccd".
        imgsz: Input (height, width) in pixels of the first steps.
        final_imgsz: Of the last steps, and of the detector afterwards.
        steps: At the first size.
        final_steps: At the final one.
        batch: Pictures in a step.
        rate: The highest learning rate.
        bfloat16: Whether the network computes in 16 bits; its losses never do.
        seed: Of the first weights and of the views.
    """

    model: str
    data: str
    imgsz: tuple[int, int]
    final_imgsz: tuple[int, int]
    steps: int
    final_steps: int
    batch: int
    rate: float
    bfloat16: bool
    seed: int

    @property
    def all_steps(self) -> int:
        """Steps of the whole training."""
        return self.steps + self.final_steps

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step: up in a line, then down in a cosine."""
        warmup = min(WARMUP_STEPS, self.all_steps // 10)
        if step < warmup:
            return self.rate * (step + 1) / warmup
        part = (step - warmup) / max(self.all_steps - warmup, 1)
        return cosine(self.rate, part, last=LAST_RATE)


def training_labels(data: str, folder: Path) -> Path:
    """Return the labels of the pictures to train on; none of them is ever tested on."""
    if data == BCCD:
        return bccd_labels("train")
    labels = folder / ".scenes" / "instances.json"
    if not labels.exists():
        click.echo(f"Drawing {SCENES} pictures", err=True)
        write_scenes(labels.parent, count=SCENES, seed=TRAIN_SEED, smallest=TRAIN_SMALLEST)
    return labels


def bccd_labels(part: str) -> Path:
    """Return the labels of the blood cells: train, val or test."""
    return data_folder() / BCCD / "annotations" / f"{part}.json"


def new_detector(recipe: Recipe, names: tuple[str, ...]) -> Detector:
    """Return the detector with random weights."""
    if find_architecture(recipe.model) is None:
        raise EdgeError(f"there is no architecture {recipe.model!r}; see `xprune-edge layers`")
    return load_detector(recipe.model, weights="none", names=names, seed=recipe.seed)


@torch.no_grad()
def wake_towers(network: nn.Module) -> None:
    """Draw the weights of a head's towers anew, as He et al. 2015 do for layers before a ReLU.

    torchvision draws them for a backbone that is trained already, so small that four of them
    without a normalisation let next to nothing through; a head then learns for a quarter of
    the time that there is something to see.
    """
    for name, module in network.named_modules():
        if "_head.conv." in name and isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


class Trainer:
    """A detector in training, and the pictures that it learns from."""

    def __init__(self, recipe: Recipe, detector: Detector, pool: PicturePool) -> None:
        self.recipe, self.detector, self.pool = recipe, detector, pool
        self.family = MODELS[detector.family]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = copy.deepcopy(detector.network).requires_grad_(True).to(self.device)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            wake_towers(network)
        network.to(memory_format=torch.channels_last)
        average = copy.deepcopy(network).eval().requires_grad_(False)
        self.training = Training(network, average, adamw(network, recipe.rate))

    def step(self) -> float:
        """Take a step and return its loss."""
        training, recipe = self.training, self.recipe
        images, targets = self._batch(training.step)
        for group in training.optimizer.param_groups:
            group["lr"] = recipe.rate_at(training.step)
        training.network.train()
        kind = self.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=recipe.bfloat16):
            outputs = self.family.head_outputs(training.network, images)
        loss = self.family.batch_loss(training.network, in_full(outputs), targets)
        training.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(training.network.parameters(), LONGEST_GRADIENT)
        training.optimizer.step()
        follow(training.average, training.network, training.step)
        training.step += 1
        return float(loss.detach())

    def trained(self) -> Detector:
        """Return the detector with the averaged weights."""
        average = copy.deepcopy(self.training.average).to("cpu", torch.float32)
        return replace(self.detector, network=average.eval())

    def _batch(self, step: int) -> tuple[Tensor, list[Targets]]:
        recipe = self.recipe
        size = recipe.imgsz if step < recipe.steps else recipe.final_imgsz
        spec = self.detector.preprocessing.at(size)
        count, pictures = len(self.pool), self.pool.pictures
        chosen = chosen_pictures(count, batch=recipe.batch, seed=recipe.seed, step=step)
        sizes = [picture.size for picture in pictures]
        turns = [(step * recipe.batch + place) // count for place in range(recipe.batch)]
        views = batch_views(chosen.tolist(), turns, sizes, spec, seed=recipe.seed)
        images = torch.stack([shown(self.pool.pixels(v.picture), v, spec) for v in views])
        targets = [
            moved_targets(labelled_targets(pictures[view.picture]), view, size)
            for view in views
        ]
        return images.to(self.device, memory_format=torch.channels_last), targets


def in_full(value: Any) -> Any:
    """Return outputs in 32 bits, in which losses are computed."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: in_full(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [in_full(entry) for entry in value]
    return value


def train(recipe: Recipe, folder: Path) -> tuple[Detector, float]:
    """Train to the end, saving from time to time.

    Returns:
        The detector, and the minutes that its training took.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dataset = read_dataset(training_labels(recipe.data, folder))
    detector = new_detector(recipe, dataset.names)
    pool = read_pool(dataset.pictures, longest_px=max(*recipe.imgsz, *recipe.final_imgsz))
    trainer = Trainer(recipe, detector, pool)
    state, spent = folder / "training.pt", folder / "spent.json"
    if state.exists():
        resume(state, trainer.training, recipe)
    earlier_s = read_json(spent) if state.exists() else 0.0
    assert isinstance(earlier_s, float)
    start_s = saved_s = time.monotonic()
    left = range(trainer.training.step + 1, recipe.all_steps + 1)
    for step in track(left, label=f"Training {recipe.model}"):
        loss = trainer.step()
        if step == recipe.all_steps or time.monotonic() - saved_s > SAVE_EVERY_S:
            saved_s = time.monotonic()
            save_state(state, trainer.training, recipe)
            write_json(spent, earlier_s + saved_s - start_s)
            click.echo(f"step {step} of {recipe.all_steps}: loss {loss:.3f}", err=True)
    return trainer.trained(), (earlier_s + saved_s - start_s) / 60


def held_out_ap(recipe: Recipe, weights: Path, folder: Path) -> float:
    """Return the AP on pictures that were neither trained on nor are there to test on."""
    if recipe.data == BCCD:
        labels, trained_on = (bccd_labels(part) for part in ("val", "train"))
    else:
        trained_on = training_labels(recipe.data, folder)
        labels = write_scenes(folder / ".held_out", count=HELD_OUT, seed=CALIBRATION_SEED)
    options = {"model": str(weights), "data": str(labels), "calibration": str(trained_on)}
    with tempfile.TemporaryDirectory(prefix="xprune-edge-") as run:
        bench = Workbench(RunFolder(Path(run), make_config(options)), click.echo)
        return measured_ap(bench)()


def read_training(folder: Path) -> Recipe:
    """Return what a detector was trained by, from the folder where it was left.

    Raises:
        EdgeError: If none was left there.
    """
    content = read_json(folder / TRAINING)
    if not isinstance(content, dict):
        raise EdgeError(f"{folder / TRAINING} is not what a training left; train anew")
    given = dict(content["recipe"])
    for name in ("imgsz", "final_imgsz"):
        height, width = given[name]
        given[name] = (height, width)
    return Recipe(**given)


@click.command()
@click.option("--model", required=True, help="A name of torchvision's.")
@click.option("--data", type=click.Choice((BUILTIN, BCCD)), required=True)
@click.option("--imgsz", required=True, help="Side, or HEIGHTxWIDTH, px.")
@click.option("--final-imgsz", help="The same in the last steps.  [default: --imgsz]")
@click.option("--steps", type=click.IntRange(min=1), required=True)
@click.option("--final-steps", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True)
@click.option("--rate", type=float, default=PEAK_RATE, show_default=True)
@click.option("--bfloat16", is_flag=True, help="Three times as fast where there is AMX.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(out: Path, threads: int, imgsz: str, final_imgsz: str | None, **given: Any) -> None:
    """Train a detector and leave it in OUT."""
    torch.set_num_threads(threads)
    first, last = (parse_imgsz(text) for text in (imgsz, final_imgsz or imgsz))
    if isinstance(first, str) or isinstance(last, str):
        raise click.UsageError("a training is at one size; give --imgsz as pixels")
    recipe = Recipe(imgsz=first, final_imgsz=last, **given)
    try:
        detector, minutes = train(recipe, out)
        weights = out / WEIGHTS
        save_checkpoint(weights, detector, imgsz=recipe.final_imgsz)
        content = {
            "recipe": asdict(recipe),
            "minutes": minutes,
            "threads": threads,
            "held_out_ap": held_out_ap(recipe, weights, out),
            "sha256": sha256_of(weights),
            "machine": describe_machine(),
        }
    except EdgeError as error:
        raise click.ClickException(str(error)) from None
    write_json(out / TRAINING, content)
    click.echo(f"AP {content['held_out_ap']:.3f} after {minutes:.1f} minutes: {weights}")


if __name__ == "__main__":
    main()
