"""Stage 4: train what was pruned, if that was asked. Leaves `recovered.safetensors`."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from runtime_bench.data.dataset import Picture
from runtime_bench.errors import EdgeError
from runtime_bench.machine.processors import available_threads
from runtime_bench.progress import time_bar
from xprune.config import TRAININGS
from xprune.models.detector import Detector
from xprune.models.files.checkpoint import read_checkpoint, save_checkpoint
from xprune.models.load import load_detector
from xprune.recovery.same import is_same, leading_same, untouched
from xprune.recovery.state import Progress
from xprune.recovery.training import Task, train
from xprune.stages.lessons import Lessons
from xprune.stages.prune import PRUNED_FILE
from xprune.stages.workbench import Workbench

STAGE = "recover"
RECOVERED_FILE = "recovered.safetensors"
STATE_FILE = "recovery.safetensors"
INPUTS = (PRUNED_FILE,)
# Pictures to tell what is best by: an eighth of what there is, but no more than these.
HELD_OUT = 64
# With fewer in all, a person is told that more would help.
FEW = 256


@dataclass(frozen=True)
class Recovered:
    """A trained network, and what the training brought.

    Attributes:
        network: On the CPU, in eval mode; the refitted one if nothing was better.
        start_loss: Of the refitted network, on pictures that were held out: 1 less its AP
            against their labels or against what the unpruned network is sure of there; None
            where nothing was trained, since nothing was replaced.
        best_loss: Of `network`, on the same.
        seconds: Spent, over all runs that it took.
        steps: Taken.
        pictures: Trained on.
        held_out: Pictures that losses were measured on.
    """

    network: nn.Module
    start_loss: float | None = None
    best_loss: float | None = None
    seconds: float = 0.0
    steps: int = 0
    pictures: int = 0
    held_out: int = 0

    def facts(self) -> dict[str, float | None]:
        """Return its numbers."""
        numbers = asdict(replace(self, network=nn.Identity()))
        del numbers["network"]
        return numbers


def recover(bench: Workbench) -> None:
    """Train the pruned network, unless that is done or was not asked for."""
    run = bench.run
    method = run.config.recover
    if method not in TRAININGS:
        return
    if run.is_done(STAGE, inputs=INPUTS, outputs=(RECOVERED_FILE,)):
        bench.say("The model is recovered already")
        return
    pruned = load_made(bench, PRUNED_FILE)
    recovered = recover_network(
        bench,
        pruned.network,
        minutes=run.config.recover_minutes,
        state=run.file(STATE_FILE),
    )
    save_checkpoint(
        run.file(RECOVERED_FILE),
        replace(pruned, network=recovered.network),
        {"recover": method, "recovery": recovered.facts()},
        imgsz=bench.size,
    )
    run.mark_done(STAGE, inputs=INPUTS)
    run.file(STATE_FILE).unlink(missing_ok=True)


def recover_network(
    bench: Workbench,
    network: nn.Module,
    *,
    minutes: float,
    state: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Recovered:
    """Train any network that maps like the detector's, by the detector or by labels as well.

    Labels are used where the run's recovery is `finetune`, and only there.

    Args:
        bench: The run: its detector teaches, its calibration pictures and others like them are
            learnt on, at the run's input size.
        network: In eval mode; it is not changed.
        minutes: To spend, reading pictures left out.
        state: A file to go on from and to save to.
        clock: A monotonic clock in seconds; tests pass a fake one.

    Raises:
        EdgeError: If there are too few pictures, the state is damaged, or the network's outputs
            are not finite.
    """
    original = bench.detector.network
    if bench.run.config.recover != "finetune" and is_same(network, original):
        bench.say("No layer was replaced, so there is nothing to win back")
        return Recovered(copy.deepcopy(network))
    lessons = _lessons(bench, leading_same(network, original))
    key = _key(bench, network, lessons.pool.pictures, minutes=minutes)
    task = Task(lessons.loss, lessons.missed, key, frozen=untouched(network, original))
    bench.say(
        f"Recovering for {minutes:g} minutes on {lessons.taught} pictures; "
        f"{lessons.held_out} others tell what is best"
    )
    if len(lessons.pool) < FEW and bench.run.config.recover_images is None:
        bench.say("More pictures as --calibration, which need no labels, would win back more")
    with _every_thread(), _shown(minutes * 60) as show:
        trained = train(
            copy.deepcopy(network).to(lessons.device),
            task,
            seconds=minutes * 60,
            clock=clock,
            state=state,
            on_step=show,
        )
    progress = trained.progress
    bench.say(_outcome(progress))
    return Recovered(
        network=trained.network.cpu().requires_grad_(False),
        start_loss=progress.start_loss,
        best_loss=progress.best_loss,
        seconds=progress.elapsed_s,
        steps=progress.step,
        pictures=lessons.taught,
        held_out=lessons.held_out,
    )


def _lessons(bench: Workbench, common: frozenset[str]) -> Lessons:
    """Return what is to be learnt, on which pictures, and on which device."""
    labelled = bench.run.config.recover == "finetune"
    if labelled and not bench.sets.calibration.labelled:
        raise EdgeError(
            f"--recover finetune needs labels, and {bench.sets.calibration.source} has none; "
            "give labelled pictures as --calibration, or use --recover distill"
        )
    pool = bench.recovery_pool
    if len(pool) < 2:
        raise EdgeError(
            f"{len(pool)} picture is too few to recover on, since some are held out; "
            "give more as --calibration (labels are not needed)"
        )
    held_out = min(HELD_OUT, -(-len(pool) // 8))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Lessons(bench, pool, held_out, device, labelled=labelled, common=common)


def load_made(bench: Workbench, name: str) -> Detector:
    """Return the detector in a file of the run's folder, from that file alone.

    Raises:
        EdgeError: If it is of a model with other classes or another stride.
    """
    path = bench.run.file(name)
    made = load_detector(str(path))
    if (made.names, made.stride) != (bench.detector.names, bench.detector.stride):
        raise EdgeError(
            f"{path} is not made from {bench.run.config.model}; "
            "remove it and run `xprune-edge prune` again"
        )
    return made


def recovery_facts(bench: Workbench) -> dict[str, object]:
    """Return what the run's training brought, under one name; nothing where there was none."""
    if bench.run.config.recover not in TRAININGS:
        return {}
    return {"recovery": read_checkpoint(bench.run.file(RECOVERED_FILE)).extra.get("recovery")}


def _outcome(progress: Progress) -> str:
    start, best = progress.start_loss, progress.best_loss
    if best >= start:
        return (
            f"Nothing missed less on what is held out than before ({start:.4f}), "
            "so the weights stay as they were"
        )
    return f"Recovered: what is missed on held-out pictures fell from {start:.4f} to {best:.4f}"


@contextlib.contextmanager
def _every_thread() -> Iterator[None]:
    """Let PyTorch compute on every core: how many threads infer later is no limit to it."""
    before = torch.get_num_threads()
    torch.set_num_threads(available_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _shown(seconds: float) -> Iterator[Callable[[Progress], None]]:
    """Yield what shows how far a training has come, and the best so far."""
    with time_bar("Recovering", seconds) as show:
        yield lambda progress: show(
            progress.elapsed_s,
            f"misses {progress.best_loss:.4f}, at first {progress.start_loss:.4f}",
        )


def _key(
    bench: Workbench, network: nn.Module, pictures: Sequence[Picture], *, minutes: float
) -> str:
    """Return what names a training: all that its steps depend on."""
    config = bench.run.config
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    facts = {
        "network": digest.hexdigest(),
        "teacher": bench.detector.weights_sha256,
        "method": config.recover,
        "minutes": minutes,
        "seed": config.seed,
        "size": bench.size,
        "pictures": [picture.name for picture in pictures],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
