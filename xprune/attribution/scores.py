"""The scores of a network's layers, as a value and as `scores.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from xprune.layers.candidates import BLOCK_KERNEL, Candidate, Shape
from xprune.layers.chains import chain_from_json
from xprune.layers.substitutes import applicable

FORMAT = "xprune-edge scores"
VERSION = 1


@dataclass(frozen=True)
class LayerScore:
    """A layer's score over the pictures: their mean, and their standard deviation."""

    mean: float
    std: float


@dataclass(frozen=True)
class ScoreTable:
    """One criterion's scores, for one substitute where the criterion looks at it."""

    criterion: str
    substitute: str | None
    layers: Mapping[str, LayerScore]


@dataclass(frozen=True)
class Scores:
    """Everything that `attribute` found out.

    Attributes:
        model_name: The model's name.
        weights_sha256: Of the weights file, or None for random weights.
        size: Input (height, width) in pixels.
        seed: Of the random criterion.
        targets: `labels`, or `own detections` when the pictures have none.
        pictures: The names of the pictures that were scored.
        loss: Mean and standard deviation of the loss over the pictures.
        candidates: The layers, in the order in which they run.
        tables: The scores.
        fit_errors: Layer, then substitute: share of the output's variance the fit misses.
    """

    model_name: str
    weights_sha256: str | None
    size: tuple[int, int]
    seed: int
    targets: str
    pictures: tuple[str, ...]
    loss: LayerScore
    candidates: tuple[Candidate, ...]
    tables: tuple[ScoreTable, ...]
    fit_errors: Mapping[str, Mapping[str, float]]

    def table(self, criterion: str, substitute: str | None) -> ScoreTable:
        """Return the scores of `criterion`, for `substitute` where it depends on one.

        Raises:
            EdgeError: If they were not computed.
        """
        for table in self.tables:
            if table.criterion == criterion and table.substitute in (None, substitute):
                return table
        wanted = criterion if substitute is None else f"{criterion} with {substitute}"
        raise EdgeError(f"the scores hold no '{wanted}'; run `xprune-edge attribute` for it")


def write_scores(path: Path, scores: Scores) -> None:
    """Write `scores.json`."""
    write_json(
        path,
        {
            "format": FORMAT,
            "version": VERSION,
            "model": {"name": scores.model_name, "sha256": scores.weights_sha256},
            "imgsz": list(scores.size),
            "seed": scores.seed,
            "count": len(scores.pictures),
            "targets": scores.targets,
            "pictures": list(scores.pictures),
            "loss": asdict(scores.loss),
            "candidates": [_candidate_json(candidate) for candidate in scores.candidates],
            "fit_errors": {layer: dict(errors) for layer, errors in scores.fit_errors.items()},
            "scores": [
                {
                    "criterion": table.criterion,
                    "substitute": table.substitute,
                    "layers": {name: asdict(score) for name, score in table.layers.items()},
                }
                for table in scores.tables
            ],
        },
    )


def read_scores(path: Path) -> Scores:
    """Read `scores.json`.

    Raises:
        EdgeError: If it is missing, or not what `write_scores` writes.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise EdgeError(f"{path} is not a scores file; `xprune-edge attribute` writes one")
    if document.get("version") != VERSION:
        raise EdgeError(
            f"{path} has version {document.get('version')}, this program reads {VERSION}; "
            "remove it and run `xprune-edge attribute` again"
        )
    try:
        scores = _scores_from_json(document)
        entries = [_mapping(entry) for entry in _list(document["candidates"])]
        scored = [tuple(_list(entry["substitutes"])) for entry in entries]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EdgeError(
            f"{path} lacks or misspells {error}; "
            "correct it, or remove it and run `xprune-edge attribute` again"
        ) from error
    if scored != [applicable(candidate) for candidate in scores.candidates]:
        raise EdgeError(
            f"{path} was made by a version with other substitutes; "
            "remove it and run `xprune-edge attribute` again"
        )
    return scores


def _candidate_json(candidate: Candidate) -> dict[str, object]:
    return {
        **asdict(candidate),
        "chains": [chain.to_json() for chain in candidate.chains],
        "widths": {level: list(widths) for level, widths in candidate.widths.items()},
        "substitutes": list(applicable(candidate)),
    }


def _scores_from_json(document: dict[str, object]) -> Scores:
    plain: dict[str, object] = document
    model = _mapping(plain["model"])
    height, width = _list(plain["imgsz"])
    return Scores(
        model_name=str(model["name"]),
        weights_sha256=None if model["sha256"] is None else str(model["sha256"]),
        size=(int(height), int(width)),
        seed=int(str(plain["seed"])),
        targets=str(plain["targets"]),
        pictures=tuple(str(name) for name in _list(plain["pictures"])),
        loss=_score(plain["loss"]),
        candidates=tuple(_candidate(_mapping(entry)) for entry in _list(plain["candidates"])),
        tables=tuple(_table(_mapping(entry)) for entry in _list(plain["scores"])),
        fit_errors={
            layer: {name: _float(value) for name, value in _mapping(errors).items()}
            for layer, errors in _mapping(plain["fit_errors"]).items()
        },
    )


def _candidate(entry: dict[str, object]) -> Candidate:
    return Candidate(
        name=str(entry["name"]),
        type=str(entry["type"]),
        parent=None if entry["parent"] is None else str(entry["parent"]),
        input_shapes=_shapes(entry["input_shapes"]),
        output_shapes=_shapes(entry["output_shapes"]),
        parameters=int(str(entry["parameters"])),
        macs=int(str(entry["macs"])),
        convolution=entry["convolution"] is True,
        # Version 1 files of before these were needed lack them.
        convolutions=int(str(entry.get("convolutions", 0))),
        kernel=_pair(entry.get("kernel", BLOCK_KERNEL)),
        before_padding=entry.get("before_padding") is True,
        activation=entry.get("activation") is True,
        chains=tuple(chain_from_json(chain) for chain in _list(entry.get("chains", []))),
        chain_macs={
            name: int(str(macs)) for name, macs in _mapping(entry.get("chain_macs", {})).items()
        },
        widths={
            level: tuple(int(width) for width in _list(widths))
            for level, widths in _mapping(entry.get("widths", {})).items()
        },
        maps=int(str(entry.get("maps", 1))),
    )


def _pair(entry: object) -> tuple[int, int]:
    rows, columns = _list(list(entry) if isinstance(entry, tuple) else entry)
    return int(rows), int(columns)


def _shapes(entry: object) -> tuple[Shape, ...]:
    shapes = tuple((int(c), int(h), int(w)) for c, h, w in map(_list, _list(entry)))
    if not shapes or min(min(shape) for shape in shapes) < 1:
        raise ValueError("shapes")
    return shapes


def _table(entry: dict[str, object]) -> ScoreTable:
    substitute = entry["substitute"]
    return ScoreTable(
        criterion=str(entry["criterion"]),
        substitute=None if substitute is None else str(substitute),
        layers={name: _score(score) for name, score in _mapping(entry["layers"]).items()},
    )


def _score(entry: object) -> LayerScore:
    score = _mapping(entry)
    return LayerScore(_float(score["mean"]), _float(score["std"]))


def _float(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"a number, found {type(value).__name__}")
    return float(value)


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"an object, found {type(value).__name__}")
    return value


def _list(value: object) -> list:  # type: ignore[type-arg]
    if not isinstance(value, list):
        raise TypeError(f"a list, found {type(value).__name__}")
    return value
