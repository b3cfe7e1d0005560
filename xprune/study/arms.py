"""An arm: layers chosen by one criterion, at one ratio and seed, and what became of them.

What it leaves is written last, so an arm whose file is there is whole. Arms that choose alike
share an artifact: with the same layers zeroed or bypassed, it is the same network.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from torch import nn

from runtime_bench.artifact.manifest import MODEL_FILE
from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, sha256_of, write_json
from xprune.layers.zeroed import zeroed
from xprune.pruning.plan import PrunePlan, Request
from xprune.pruning.plan_by_count import plan_by_count, wanted_count
from xprune.stages.solving import prune_detector
from xprune.stages.workbench import Workbench
from xprune.study.config import DEFAULT, REMOVED, ZEROED, StudyConfig
from xprune.study.ground import Ground

FORMAT = "xprune-edge study arm"
VERSION = 1
ARMS_FOLDER, ARTIFACTS_FOLDER = "arms", "artifacts"
# What stands in a layer's place, and so which layers can be chosen.
SUBSTITUTES = {ZEROED: "zero", REMOVED: "identity"}


@dataclass(frozen=True)
class Arm:
    """What is to be made.

    Attributes:
        criterion: What layers are chosen by.
        mode: What is done with them.
        ratio: How many, as a share of the convolutions, rounded up.
        seed: Which pictures are scored on.
    """

    criterion: str
    mode: str
    ratio: float
    seed: int

    def __str__(self) -> str:
        """Return what its file is called."""
        return f"{self.criterion}-{self.mode}-{self.ratio:g}-{self.seed}"


@dataclass(frozen=True)
class Made:
    """What came of an arm.

    Attributes:
        arm: What was to be made.
        layers: What was chosen, as pairs (layer, what became of it), in the order of running.
        convolutions: Which convolutions are zeroed or gone with them.
        artifact: Its folder; None where it could not be made.
        sha256: Of its model.
        parameters: Of the network, zeros counted.
        macs: Multiply-adds for one picture, those with zeros counted.
        seconds: That it took.
        error: Why it could not be made.
    """

    arm: Arm
    layers: tuple[tuple[str, str], ...] = ()
    convolutions: tuple[str, ...] = ()
    artifact: Path | None = None
    sha256: str = ""
    parameters: int = 0
    macs: int = 0
    seconds: float = 0.0
    error: str | None = None


def arms_of(study: StudyConfig) -> Iterator[Arm]:
    """Yield the arms of every architecture of a study; those of one seed come together."""
    modes = [mode for mode in study.modes if mode != DEFAULT]
    for seed, ratio in product(study.seeds, study.ratios):
        for mode, criterion in product(modes, study.criteria):
            yield Arm(criterion, mode, ratio, seed)
        if DEFAULT in study.modes:
            yield Arm(study.own_criterion, DEFAULT, ratio, seed)


def make_arm(ground: Ground, arm: Arm) -> Made:
    """Return what came of an arm, made now unless it is there already and whole."""
    path = ground.folder / ARMS_FOLDER / f"{arm}.json"
    there = _read(path, ground, arm)
    if there is not None:
        return there
    ground.say(f"Making {ground.entry.name} {arm}")
    start_s = time.monotonic()
    try:
        made = _made(ground, arm, start_s)
    except EdgeError as fault:
        error = " ".join(str(fault).split())
        ground.say(f"{ground.entry.name} {arm}: {error}")
        made = Made(arm, seconds=time.monotonic() - start_s, error=error)
    write_json(path, _to_json(made, ground))
    return made


def size_of(bench: Workbench, network: nn.Module) -> tuple[int, int]:
    """Return the parameters of a network, and its multiply-adds for one picture."""
    parameters = sum(weight.numel() for weight in network.parameters())
    return parameters, bench.macs(network, bench.size)


def _made(ground: Ground, arm: Arm, start_s: float) -> Made:
    plan = chosen(ground, arm)
    own = arm.mode == DEFAULT
    network = _network(ground, arm, plan)
    artifact = ground.ship(network, _artifact_folder(ground, arm, plan))
    parameters, macs = size_of(ground.bench, network)
    layers = tuple((c.layer, c.substitute if own else arm.mode) for c in plan.choices)
    return Made(
        arm=arm,
        layers=layers,
        convolutions=_convolutions(ground, plan),
        artifact=artifact,
        sha256=sha256_of(artifact / MODEL_FILE),
        parameters=parameters,
        macs=macs,
        seconds=time.monotonic() - start_s,
    )


def chosen(ground: Ground, arm: Arm) -> PrunePlan:
    """Return which layers an arm chooses: of the lowest scores as many as its ratio says.

    Zeroing can be done to every convolution, bypassing to those that keep their shape, and our
    default takes whole blocks as well; the number of layers is the same.

    Raises:
        EdgeError: If there are fewer.
    """
    if arm.mode != DEFAULT:
        return plan_by_count(
            ground.scores(arm.seed),
            criterion=arm.criterion,
            substitute=SUBSTITUTES[arm.mode],
            asked=Request(fraction=arm.ratio),
        )
    scores = ground.scores(arm.seed, own=True)
    return plan_by_count(
        scores,
        criterion=arm.criterion,
        substitute=ground.study.own_substitute,
        asked=Request(layers=count_of(ground, arm.ratio)),
    )


def count_of(ground: Ground, ratio: float) -> int:
    """Return how many layers a share of the convolutions is."""
    return wanted_count(ground.bench.candidates, Request(fraction=ratio))


def _network(ground: Ground, arm: Arm, plan: PrunePlan) -> nn.Module:
    if arm.mode == ZEROED:
        layers = [choice.layer for choice in plan.choices]
        return zeroed(ground.bench.detector.network, layers)
    own = arm.mode == DEFAULT
    bench = ground.at_seed(arm.seed, recover="refit" if own else "none")
    detector, _ = prune_detector(bench, ground.scores(arm.seed, own=own), plan)
    return detector.network


def _artifact_folder(ground: Ground, arm: Arm, plan: PrunePlan) -> Path:
    # What is solved depends on the pictures; zeroing and bypassing on the layers alone.
    facts = [ground.digest, arm.mode, plan.pairs, arm.seed if arm.mode == DEFAULT else None]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    return ground.folder / ARTIFACTS_FOLDER / f"{arm.mode}-{digest}"


def _convolutions(ground: Ground, plan: PrunePlan) -> tuple[str, ...]:
    inside = tuple(f"{choice.layer}." for choice in plan.choices)
    layers = {choice.layer for choice in plan.choices}
    return tuple(
        candidate.name
        for candidate in ground.bench.candidates
        if candidate.convolution
        and (candidate.name in layers or candidate.name.startswith(inside))
    )


def _to_json(made: Made, ground: Ground) -> dict[str, object]:
    folder = made.artifact
    return {
        "format": FORMAT,
        "version": VERSION,
        "key": ground.digest,
        **asdict(made.arm),
        "layers": [list(pair) for pair in made.layers],
        "convolutions": list(made.convolutions),
        "artifact": None if folder is None else folder.relative_to(ground.folder).as_posix(),
        "sha256": made.sha256,
        "parameters": made.parameters,
        "macs": made.macs,
        "seconds": made.seconds,
        "error": made.error,
    }


def _read(path: Path, ground: Ground, arm: Arm) -> Made | None:
    """Return what is in a file if it is whole, of the same, and its model is untouched."""
    content = read_json(path) if path.exists() else None
    same = {"key": ground.digest, **asdict(arm)}
    if not isinstance(content, dict) or not same.items() <= content.items():
        return None
    try:
        made = _from_json(content, ground, arm)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EdgeError(f"{path} is damaged ({error}); remove it") from error
    if made.artifact is None:
        return made
    model = made.artifact / MODEL_FILE
    return made if model.is_file() and sha256_of(model) == made.sha256 else None


def _from_json(content: Mapping[str, Any], ground: Ground, arm: Arm) -> Made:
    artifact = None
    if content["artifact"] is not None:
        artifact = ground.folder / str(content["artifact"])
        if not artifact.resolve().is_relative_to(ground.folder.resolve()):
            raise ValueError("it names an artifact outside the study")
    elif content["error"] is None:
        raise ValueError("it has neither an artifact nor an error")
    return Made(
        arm=arm,
        layers=tuple((str(layer), str(what)) for layer, what in content["layers"]),
        convolutions=tuple(map(str, content["convolutions"])),
        artifact=artifact,
        sha256=str(content["sha256"]),
        parameters=int(content["parameters"]),
        macs=int(content["macs"]),
        seconds=float(content["seconds"]),
        error=None if content["error"] is None else str(content["error"]),
    )
