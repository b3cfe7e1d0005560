"""What all arms of a frontier stand on: the unpruned model, its pictures, and the clock."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import nn

from exporters.bundle import build_artifact
from exporters.keep_faster import clock_for
from exporters.precision.lower import FLOAT32
from runtime_bench.artifact.manifest import MODEL_FILE
from runtime_bench.artifact.preprocess import prepare
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.session import open_session
from runtime_bench.timing.openings import compare_opened
from xprune.config import TRAININGS, make_config
from xprune.frontier.settings import FrontierSettings, Identity
from xprune.run_folder import RunFolder
from xprune.stages.baseline import BASELINE_FOLDER, export_baseline, intact_manifest
from xprune.stages.recover import STATE_FILE, recover_network
from xprune.stages.rewrites import (
    REWRITES_FILE,
    check_precision,
    kept_rewrites,
    run_lowering,
)
from xprune.stages.workbench import TIMED_PICTURES, Image, Workbench
from xprune.variants.agreement import Agreement
from xprune.variants.folder import at_other_size

BASE_FOLDER = "base"
# What another workbench of the same model and pictures takes over.
SHARED = ("detector", "sets")
SHARED_AT_ONE_SIZE = ("calibration", "targets", "candidates", "timed_images", "unpruned_graph")
# Rounds are added until the interval of a ratio is this narrow, or there are so many.
NARROW = 0.02
FIRST_ROUNDS = 60
MOST_ROUNDS = 600

Size = tuple[int, int]


@dataclass(frozen=True)
class Ground:
    """What all arms of a frontier share.

    Attributes:
        folder: Of the frontier.
        settings: What was asked for.
        identity: What every arm depends on.
        say: Tells a person, in one line, what is being done.
    """

    folder: Path
    settings: FrontierSettings
    identity: Identity
    say: Callable[[str], None]

    @cached_property
    def bench(self) -> Workbench:
        """The workbench of the unpruned model at the size that budgets are against."""
        run = RunFolder(self.folder / BASE_FOLDER, self.settings.config)
        return Workbench(run, self.say)

    @cached_property
    def base(self) -> Path:
        """The artifact that budgets are against: unpruned, float32, in our plain export."""
        export_baseline(self.bench)
        return self.bench.run.file(BASELINE_FOLDER)

    def at_base(self, precision: str) -> Workbench:
        """Return the workbench of the unpruned model at its own size, in a precision.

        Which rewrites are faster, and which layers bear 8 bits, is found out there, once.

        Raises:
            EdgeError: If that precision is not faster on this machine.
        """
        if precision == FLOAT32:
            bench = self.bench
        else:
            folder = self.bench.run.file(precision)
            bench = self._workbench(folder, imgsz=self.bench.size, precision=precision)
            check_precision(bench)
        run_lowering(bench)
        kept_rewrites(bench)
        return bench

    def workbench(self, folder: Path, **options: Any) -> Workbench:
        """Return a workbench of the same model and pictures with other options.

        What was found out at the unpruned model's own size holds for it too.

        Raises:
            EdgeError: If its precision is not faster on this machine.
        """
        bench = self._workbench(folder, **options)
        if not bench.run.file(REWRITES_FILE).exists():
            at_other_size(bench, self.at_base(bench.run.config.precision))
        return bench

    def _workbench(self, folder: Path, **options: Any) -> Workbench:
        given = {
            "base_imgsz": self.bench.size,
            "recover": self.settings.recover,
            **self.settings.options,
            **options,
        }
        bench = Workbench(RunFolder(folder, make_config(given)), self.say)
        vars(bench).update({name: getattr(self.bench, name) for name in SHARED})
        if bench.size == self.bench.size:
            known = {k: v for k, v in vars(self.bench).items() if k in SHARED_AT_ONE_SIZE}
            vars(bench).update(known)
        return bench

    def ship(
        self, bench: Workbench, network: nn.Module, folder: Path, *, rewritten: bool = True
    ) -> Path:
        """Write a network's artifact as ours ship, in the workbench's size and precision.

        One that is there and intact stays.
        """
        if intact_manifest(folder) is None:
            build_artifact(
                bench.decoded(network),
                folder=folder,
                card=self.bench.card,
                size=bench.size,
                pictures=bench.probe_pictures(),
                rewrites=kept_rewrites(bench) if rewritten else (),
                provenance={"weights_sha256": bench.detector.weights_sha256},
                lowering=run_lowering(bench, full=True),
            )
        return folder

    def recovered(
        self, bench: Workbench, network: nn.Module, folder: Path
    ) -> tuple[nn.Module, dict[str, Any]]:
        """Return a network after the recovery that every method gets, and what it reports.

        Args:
            bench: Of the size at which it will run.
            network: That maps like the detector's; it is not changed.
            folder: Keeps the state, so that a stopped recovery is gone on with.
        """
        settings = self.settings
        if settings.recover not in TRAININGS:
            return network, {}
        folder.mkdir(parents=True, exist_ok=True)
        done = recover_network(
            bench, network, minutes=settings.recover_minutes, state=folder / STATE_FILE
        )
        return done.network, done.facts()

    @cached_property
    def _agreement(self) -> Agreement:
        return Agreement(self.bench)

    def agreement(self, artifact: Path, size: Size) -> float:
        """Return how good an artifact is on calibration pictures; test pictures stay out."""
        return self._agreement.of((artifact / MODEL_FILE).read_bytes(), size)

    def images(self, size: Size) -> Sequence[Image]:
        """Return the same real pictures (1, 3, H, W) for any size, to time on."""
        pixels = self.bench.probe_pictures(TIMED_PICTURES)
        spec = self.bench.detector.preprocessing.at(size)
        return [prepare(picture, spec)[0][None] for picture in pixels]

    def runner(self, artifact: Path, size: Size) -> Callable[[], object]:
        """Return a call that runs an artifact on the next of the timed pictures."""
        session = open_session(artifact / MODEL_FILE, self.bench.session)
        images = itertools.cycle(self.images(size))
        return lambda: session.run(next(images))

    def latency_ratio(self, artifact: Path, size: Size) -> float:
        """Return an artifact's latency as a share of the unpruned model's, timed in turn."""
        timed = compare_opened(
            partial(self.runner, self.base, self.bench.size),
            partial(self.runner, artifact, size),
            min_rounds=FIRST_ROUNDS,
            min_time_s=1.5,
            max_time_s=20.0,
            narrow=NARROW,
            most_rounds=MOST_ROUNDS,
            clock=clock_for(self.bench.session),
        )
        return 1 / timed.ratio


def copy_if_there(source: Path, target: Path) -> None:
    """Copy a file or folder that is there to a place that is free.

    Raises:
        EdgeError: If it cannot be written.
    """
    if not source.exists() or target.exists():
        return
    try:
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    except OSError as error:
        raise EdgeError(
            f"cannot write '{target}': {error.strerror}; free some space"
        ) from error
