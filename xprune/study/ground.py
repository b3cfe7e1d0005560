"""What all arms of one architecture stand on: the unpruned network, pictures, and scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from exporters.bundle import build_artifact
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import read_json, write_json
from xprune.attribution.scores import Scores, read_scores, write_scores
from xprune.config import BUILTIN, RunConfig, make_config
from xprune.run_folder import RunFolder, checksums
from xprune.stages.attribute import compute_scores
from xprune.stages.baseline import intact_manifest
from xprune.stages.workbench import Workbench
from xprune.study.config import Entry, StudyConfig, resolved
from xprune.study.pictures import Pictures, read_pictures_of

SETTINGS_FILE = "settings.json"
FORMAT = "xprune-edge study settings"
VERSION = 1
BASE_FOLDER = "base"
SEEDS_FOLDER = "seeds"
# Scores that need no substitute are alike with any; a constant zero fits every layer.
PLAIN_SUBSTITUTE, PLAIN_CRITERION = "zero", "grad_act"
# What a workbench of other pictures takes over, and what one of the same pictures does.
SHARED = ("detector", "candidates")
SHARED_BY_SEED = (*SHARED, "sets", "calibration", "targets")


@dataclass(frozen=True)
class Ground:
    """What all arms of an architecture share.

    Attributes:
        folder: Of the architecture.
        study: What was asked for.
        entry: The architecture.
        root: Where its paths start.
        say: Tells a person, in one line, what is being done.
    """

    folder: Path
    study: StudyConfig
    entry: Entry
    root: Path
    say: Callable[[str], None]
    _seeded: dict[int, Workbench] = field(default_factory=dict)

    @cached_property
    def options(self) -> dict[str, Any]:
        """The paths of the architecture, resolved."""
        return resolved(self.entry, self.root)

    @cached_property
    def digest(self) -> str:
        """The checksum of all that arms depend on."""
        return hashlib.sha256(json.dumps(self._facts(), sort_keys=True).encode()).hexdigest()

    @cached_property
    def _bare(self) -> Workbench:
        """The workbench of the unpruned network, without pictures yet."""
        bench = self._workbench(self.folder / BASE_FOLDER, self._config())
        bench.family.check_size(bench.detector.network, bench.size)
        return bench

    @cached_property
    def pictures(self) -> Pictures:
        """The pictures to test on, and those that seeds draw from."""
        scenes = self.folder / BASE_FOLDER / "scenes"
        return read_pictures_of(
            self.entry, self.options, self._bare.detector, scenes=scenes, say=self.say
        )

    @cached_property
    def bench(self) -> Workbench:
        """The workbench of the unpruned network, with the pictures that seed 0 draws."""
        vars(self._bare)["sets"] = self.pictures.drawn(0)
        return self._bare

    @property
    def has_accuracy(self) -> bool:
        """Whether there is an accuracy to speak of: trained weights, and labels."""
        return self.entry.trained and self.pictures.test.labelled

    @cached_property
    def base(self) -> Path:
        """The artifact that all others are compared with: unpruned, in our plain export."""
        return self.ship(self.bench.detector.network, self.folder / BASE_FOLDER / "artifact")

    @property
    def leaves_nms_out(self) -> bool:
        """Whether artifacts end before NMS, so that it is not timed."""
        return self.bench.detector.task == "detect"

    def ship(self, network: nn.Module, folder: Path) -> Path:
        """Write a network's artifact, the same way for all; one that is intact stays.

        A detector's ends before NMS: what that takes depends on how much a network finds, and
        a broken one floods it.
        """
        bench = self.bench
        if intact_manifest(folder) is None:
            build_artifact(
                bench.decoded(network),
                folder=folder,
                card=bench.card,
                size=bench.size,
                raw=self.leaves_nms_out,
                pictures=bench.probe_pictures(),
                provenance={"weights_sha256": bench.detector.weights_sha256},
            )
        return folder

    def check(self) -> None:
        """Raise now what would else be raised after some work; writes nothing.

        Raises:
            UsageError: If the folder holds the architecture with other options or files.
            EdgeError: If the model or the pictures cannot be used.
        """
        path = self.folder / SETTINGS_FILE
        there = read_json(path) if path.exists() else None
        if there is not None and there != self._settings():
            raise UsageError(
                f"{self.folder} was made with other options or files"
                f"{_first_difference(self._settings(), there)}; choose another --out, or "
                "remove it"
            )
        _ = self._bare
        if BUILTIN not in (self.options["data"], self.options["calibration"]):
            _ = self.pictures  # the built-in ones are drawn into the folder

    def settle(self) -> None:
        """Mark the folder as this architecture's."""
        path = self.folder / SETTINGS_FILE
        if not path.exists():
            write_json(path, self._settings())

    def at_seed(self, seed: int, **changed: Any) -> Workbench:
        """Return the workbench with the pictures of a seed, its configuration changed.

        Only the last seed's pictures stay in memory.
        """
        if seed not in self._seeded:
            self._seeded.clear()
            folder = self.folder / SEEDS_FOLDER / str(seed)
            bench = self._workbench(folder, replace(self._config(), seed=seed))
            vars(bench).update({name: getattr(self.bench, name) for name in SHARED})
            vars(bench)["sets"] = self.pictures.drawn(seed)
            self._seeded[seed] = bench
        plain = self._seeded[seed]
        bench = self._workbench(plain.run.path, replace(plain.run.config, **changed))
        vars(bench).update({name: getattr(plain, name) for name in SHARED_BY_SEED})
        return bench

    def scores(self, seed: int, *, own: bool = False) -> Scores:
        """Return the scores of a seed, made now unless they are there.

        Args:
            seed: Which pictures they are of.
            own: Whether those of our default are wanted, for its substitutes.
        """
        name = "scores_default.json" if own else "scores.json"
        path = self.folder / SEEDS_FOLDER / str(seed) / name
        if not path.exists():
            criterion, substitute = PLAIN_CRITERION, PLAIN_SUBSTITUTE
            if own:
                criterion, substitute = self.study.own_criterion, self.study.own_substitute
            bench = self.at_seed(seed, criterion=criterion, substitute=substitute)
            write_scores(path, compute_scores(bench))
        return read_scores(path)

    def _config(self) -> RunConfig:
        options = self.options
        given = {
            "model": options["model"],
            "weights": options["weights"],
            "imgsz": options["imgsz"],
            "calibration_images": self.entry.calibration_images,
            "conf": self.study.conf,
            "threads": self.study.threads,
            "substitute": self.study.own_substitute,
            "rewrites": "off",
            "stored_pictures": 0,
            "layers": 1,
        }
        # Names that weights lack are the data's; random ones were trained for no classes.
        data = options["data"] if self.entry.trained else None
        return replace(make_config(given), data=data, images_dir=options["images_dir"])

    def _workbench(self, folder: Path, config: RunConfig) -> Workbench:
        return Workbench(RunFolder(folder, config), self.say)

    def _settings(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, **self._facts()}

    def _facts(self) -> dict[str, Any]:
        """Return as JSON what every arm of this architecture depends on."""
        study = self.study
        named = {
            name: self.options[name] for name in ("model", "weights", "data", "calibration")
        }
        entry = asdict(self.entry)
        if self.entry.imgsz is not None:
            entry["imgsz"] = list(self.entry.imgsz)
        config = replace(make_config({"layers": 1}), **named)
        return {
            "architecture": entry,
            "conf": study.conf,
            "own_criterion": study.own_criterion,
            "own_substitute": study.own_substitute,
            "files": checksums(config),
        }


def _first_difference(here: dict[str, Any], there: object) -> str:
    if not isinstance(there, dict):
        return ""
    for name, value in here.items():
        other = there.get(name)
        if value == other:
            continue
        if isinstance(value, dict) and isinstance(other, dict):
            return _first_difference(value, other)
        return f" ({name} is {str(value)[:60]} here and {str(other)[:60]} there)"
    return ""


def check_place(folder: Path) -> None:
    """Raise if a study cannot be made in `folder`, since it is no folder or holds other things.

    Raises:
        EdgeError: If so.
    """
    known = {"architectures", "study.json", "study.md", "study.html"}
    if folder.exists() and not folder.is_dir():
        raise EdgeError(f"{folder} is a file; choose a folder for --out")
    if folder.is_dir():
        names = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
        if names and not names & known:
            raise EdgeError(f"{folder} holds files but no study; choose an empty or new folder")
