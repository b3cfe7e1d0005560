"""Train a network for some minutes: keep the best weights seen, and go on after a stop.

The schedule follows the share of the time that has passed, so there is nothing to tune: the
rate rises in a line, falls in a cosine, and ends with the time. Measured and kept are averaged
weights (Polyak and Juditsky 1992), which are nearer to where many more steps would lead.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from runtime_bench.errors import EdgeError
from xprune.recovery.state import Progress, Tensors, read_state, write_state

# A step changes a weight by this share of its tensor's root mean square, at most (as Adafactor
# does, Shazeer and Stern 2018): what one rate does to the large weights of a depthwise kernel
# destroys the small ones of a wide convolution. Where normalisations are folded, twice as much
# destroys the features of a network that is trained as a whole.
PEAK_RATE = 0.004
# What is nearly zero, such as a bias, moves as if it were as large as this.
LEAST_SIZE = 0.02
LAST_RATE_SHARE = 0.02
WARMUP_SHARE = 0.1
# The second moment follows within a hundred steps: there may not be many more.
BETAS = (0.9, 0.99)
WEIGHT_DECAY = 0.01
LONGEST_GRADIENT = 10.0
AVERAGE_DECAY, AVERAGE_RAMP_STEPS = 0.99, 50
# Shares of the time at which the averaged weights are measured on what is held out.
CHECKS = (0.3, 0.6, 0.85, 1.0)
SAVE_EVERY_S = 20.0


@dataclass(frozen=True)
class Task:
    """What to train on, and how to tell what is best.

    Attributes:
        loss: Of a network at a step: the same pictures for the same step, whenever it is asked.
        held_out: Of a network on pictures that are never trained on; lower is better.
        key: Names what is trained and on what; the state of another task is not gone on from.
        frozen: Names of parameters that stay as they are.
    """

    loss: Callable[[nn.Module, int], Tensor]
    held_out: Callable[[nn.Module], float]
    key: str
    frozen: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Trained:
    """What came out.

    Attributes:
        network: The best one seen, on the device of the one that came in; that one if none was
            better.
        progress: How far it came; its losses tell what it brought.
    """

    network: nn.Module
    progress: Progress


def train(
    network: nn.Module,
    task: Task,
    *,
    seconds: float,
    clock: Callable[[], float],
    state: Path | None = None,
    on_step: Callable[[Progress], object] = lambda progress: None,
) -> Trained:
    """Train a copy of `network` for `seconds`.

    Args:
        network: In eval mode, where it stays: the statistics of normalisations are left alone.
        task: What to train on.
        seconds: To spend; measuring on what is held out is part of it.
        clock: A monotonic clock in seconds; tests pass a fake one.
        state: A file to go on from, and to save to at intervals; it stays behind.
        on_step: Called before the first step and after each one, for progress.

    Raises:
        EdgeError: If the state is damaged or cannot be written.
    """
    run = _Run(network, task, seconds=seconds, clock=clock)
    run.begin(state)
    if state is not None:
        run.save(state)
    on_step(run.progress)
    while run.progress.elapsed_s < seconds:
        run.step()
        run.check()
        if state is not None:
            run.save(state)
        on_step(run.progress)
    return run.result()


def learning_rate(share: float, peak: float = PEAK_RATE) -> float:
    """Return the rate after a share of the time: up in a line, then down in a cosine."""
    if share < WARMUP_SHARE:
        return peak * max(share / WARMUP_SHARE, LAST_RATE_SHARE)
    falling = (1 + math.cos(math.pi * (share - WARMUP_SHARE) / (1 - WARMUP_SHARE))) / 2
    return peak * (LAST_RATE_SHARE + (1 - LAST_RATE_SHARE) * falling)


class _Run:
    """A training under way: what changes from step to step, and how it is saved."""

    def __init__(
        self, network: nn.Module, task: Task, *, seconds: float, clock: Callable[[], float]
    ) -> None:
        self.network = copy.deepcopy(network).eval()
        for name, weight in self.network.named_parameters():
            weight.requires_grad_(name not in task.frozen)
        _channels_last(self.network)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.came_in = network
        self.best: Tensors = _copied(self.average)
        self.optimizer = _optimizer(self.network)
        self.scaler = _scaler(next(network.parameters()).device)
        self.task, self.seconds, self.clock = task, seconds, clock
        self.progress = Progress()
        self.saved_s: float | None = None

    def begin(self, state: Path | None) -> None:
        """Go on from the state, or measure what came in."""
        kept = read_state(state, self.task.key, self._tensors()) if state else None
        self.since_s = self.clock()
        if kept is not None:
            self.progress, tensors = kept
            self._restore(tensors)
            self.saved_s = self.progress.elapsed_s
            return
        loss = self.task.held_out(self.average)
        if not math.isfinite(loss):
            raise EdgeError(
                f"the loss of the network to recover is {loss}, not finite; make it anew, with "
                "another plan or more calibration pictures"
            )
        self.progress = Progress(start_loss=loss, best_loss=loss)
        self._pass_time()

    def step(self) -> None:
        """Take one step; one whose loss is not finite changes nothing."""
        share = min(self.progress.elapsed_s / self.seconds, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(share) * group["size"]
        loss = self.task.loss(self.network, self.progress.step)
        self.optimizer.zero_grad(set_to_none=False)
        if bool(torch.isfinite(loss)):
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self.scaler.unscale_(self.optimizer)
            weights = _trained(self.network).values()
            norm = nn.utils.clip_grad_norm_(weights, LONGEST_GRADIENT)
            if bool(torch.isfinite(norm)) or self.scaler.is_enabled():
                self.scaler.step(self.optimizer)
            self.scaler.update()
            self._follow()
        self.progress = replace(self.progress, step=self.progress.step + 1)
        self._pass_time()

    def check(self) -> None:
        """Measure the averaged weights where it is time, and keep them if they are the best."""
        done = self.progress.checks
        share = self.progress.elapsed_s / self.seconds
        due = sum(share >= at for at in CHECKS)
        if due <= done:
            return
        loss = self.task.held_out(self.average)
        self.progress = replace(self.progress, checks=due)
        if loss < self.progress.best_loss:
            self.best = _copied(self.average)
            self.progress = replace(self.progress, best_loss=loss)
        self._pass_time()

    def save(self, state: Path) -> None:
        """Save at the beginning, at intervals, and at the end."""
        elapsed_s = self.progress.elapsed_s
        due = self.saved_s is None or elapsed_s - self.saved_s >= SAVE_EVERY_S
        if elapsed_s >= self.seconds or due:
            write_state(state, self.task.key, self.progress, self._tensors())
            self.saved_s = elapsed_s

    def result(self) -> Trained:
        """Return the best network; what came in itself, unchanged, if nothing was better."""
        network = copy.deepcopy(self.came_in)
        if self.progress.best_loss < self.progress.start_loss:
            network.load_state_dict(self.best)
        return Trained(network, self.progress)

    def _pass_time(self) -> None:
        now_s = self.clock()
        elapsed_s = self.progress.elapsed_s + now_s - self.since_s
        self.since_s = now_s
        self.progress = replace(self.progress, elapsed_s=elapsed_s)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the averaged weights towards the trained ones, faster in the beginning."""
        ramp = 1 - math.exp(-(self.progress.step + 1) / AVERAGE_RAMP_STEPS)
        new = self.network.state_dict()
        for name, kept in self.average.state_dict().items():
            if kept.is_floating_point():
                kept.lerp_(new[name], 1 - AVERAGE_DECAY * ramp)

    def _tensors(self) -> Tensors:
        """Return everything that a later run needs, by name."""
        tensors = {f"network.{name}": value for name, value in self._state().items()}
        tensors |= {f"average.{name}": v for name, v in self.average.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        moments = self.optimizer.state
        for name, weight in _trained(self.network).items():
            tensors |= {f"{part}.{name}": value for part, value in moments[weight].items()}
        return tensors

    def _state(self) -> Tensors:
        state: Tensors = self.network.state_dict()
        return state

    def _restore(self, tensors: Tensors) -> None:
        def part(prefix: str) -> Tensors:
            start = f"{prefix}."
            return {n.removeprefix(start): v for n, v in tensors.items() if n.startswith(start)}

        self.network.load_state_dict(part("network"))
        self.average.load_state_dict(part("average"))
        self.best = part("best")
        with torch.no_grad():
            for name, weight in _trained(self.network).items():
                for kind, value in self.optimizer.state[weight].items():
                    value.copy_(tensors[f"{kind}.{name}"])


def _optimizer(network: nn.Module) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019) with its moments in place, all zero."""
    weights = list(_trained(network).values())
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [weight],
                "weight_decay": WEIGHT_DECAY if weight.ndim > 1 else 0.0,
                "size": max(float(weight.detach().square().mean().sqrt()), LEAST_SIZE),
            }
            for weight in weights
        ],
        betas=BETAS,
    )
    for weight in weights:
        optimizer.state[weight] = {
            "step": torch.zeros(()),
            "exp_avg": torch.zeros_like(weight),
            "exp_avg_sq": torch.zeros_like(weight),
        }
    return optimizer


def _scaler(device: torch.device) -> torch.amp.GradScaler:
    """Return what keeps small gradients of 16 bits from vanishing; does nothing on a CPU."""
    return torch.amp.GradScaler(device.type, enabled=device.type == "cuda")


def _channels_last(network: nn.Module) -> None:
    # A third faster on a CPU, and what CUDA's tensor cores want.
    network.to(memory_format=torch.channels_last)


def _trained(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: w for name, w in network.named_parameters() if w.requires_grad}


def _copied(network: nn.Module) -> Tensors:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
