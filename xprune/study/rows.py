"""The rows of the table: the arms of all seeds together."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xprune.study.config import DEFAULT
from xprune.study.measure import SAME_ANSWERS

OURS = "ours"
# Of a figure's keys, what a person calls it.
NAMES = {"ap": "AP", "top1": "top-1", SAME_ANSWERS: "same answers"}


@dataclass(frozen=True)
class Spread:
    """A figure over seeds: their median, and what all their 95 % intervals cover."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """The arms that differ in the seed alone.

    Attributes:
        criterion: What layers were chosen by.
        mode: What was done with them.
        ratio: As a share of the convolutions.
        layers: How many.
        seeds: How many arms there are.
        choices: How many different sets of layers were chosen.
        latency: As a share of the unpruned network's.
        accuracy: By the architecture's figure; None where there is none.
        kept: As a share of the unpruned network's accuracy; None where there is none.
        parameters: As a share of the unpruned network's, the mean over seeds.
        macs: The same of the multiply-adds.
        often: For each chosen layer, by how many seeds.
    """

    criterion: str
    mode: str
    ratio: float
    layers: int
    seeds: int
    choices: int
    latency: Spread
    accuracy: Spread | None
    kept: Spread | None
    parameters: float
    macs: float
    often: Mapping[str, int]

    @property
    def name(self) -> str:
        """What made it, in two words."""
        return OURS if self.mode == DEFAULT else f"{self.criterion} {self.mode}"


def rows_of(architecture: Mapping[str, Any]) -> list[Row]:
    """Return the rows of one architecture, as they stand in the study's JSON."""
    groups: dict[tuple[str, str, float], list[Mapping[str, Any]]] = {}
    for arm in architecture["arms"]:
        if "error" not in arm:
            groups.setdefault((arm["criterion"], arm["mode"], arm["ratio"]), []).append(arm)
    return [_row(architecture, key, arms) for key, arms in groups.items()]


def percent(ratio: float) -> str:
    """Return a share as a person would write it."""
    return f"{ratio * 100:.4g} %"


def errors_of(content: Mapping[str, Any]) -> list[str]:
    """Return a line for each arm that could not be made: which, and why."""
    return [
        f"{one['name']}, {arm['criterion']} {arm['mode']}, {percent(arm['ratio'])}, seed "
        f"{arm['seed']}: {arm['error']}"
        for one in content["architectures"]
        for arm in one["arms"]
        if "error" in arm
    ]


def controls_of(architecture: Mapping[str, Any]) -> Spread | None:
    """Return the latency of all arms whose layers were only zeroed; None if there are none."""
    arms = [
        arm for arm in architecture["arms"] if arm["mode"] == "zeroed" and "error" not in arm
    ]
    return _spread(arms, "latency_ratio", "latency_interval") if arms else None


def agreements_of(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield for each architecture and pair of choices the means over seeds."""
    for one in content["architectures"]:
        groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
        for choice in one["choices"]:
            key = (tuple(choice["first"]), tuple(choice["second"]), choice["ratio"])
            groups.setdefault(key, []).append(choice)
        for (first, second, ratio), choices in groups.items():
            ranks = [
                rank
                for rank in one["ranks"]
                if (rank["first"], rank["second"]) == (first[0], second[0])
            ]
            yield {
                "architecture": one["name"],
                "first": _label(*first),
                "second": _label(*second),
                "ratio": ratio,
                "jaccard": _mean([choice["jaccard"] for choice in choices]),
                "by_chance": _mean([choice["by_chance"] for choice in choices]),
                "spearman": _mean([rank["spearman"] for rank in ranks]),
                "kendall": _mean([rank["kendall"] for rank in ranks]),
                "convolutions": ranks[0]["convolutions"] if ranks else None,
            }


def repeated(architecture: Mapping[str, Any], row: Row) -> float | None:
    """Return how alike a row's seeds chose, the mean Jaccard index; None with one seed."""
    return _mean(
        [
            pair["jaccard"]
            for pair in architecture["repeats"]
            if (pair["criterion"], pair["mode"], pair["ratio"])
            == (row.criterion, row.mode, row.ratio)
        ]
    )


def _row(
    architecture: Mapping[str, Any],
    key: tuple[str, str, float],
    arms: Sequence[Mapping[str, Any]],
) -> Row:
    base, figure = architecture["base"], architecture["figure"]
    layers = [tuple(layer for layer, _ in arm["layers"]) for arm in arms]
    return Row(
        *key,
        layers=len(layers[0]),
        seeds=len(arms),
        choices=len({frozenset(chosen) for chosen in layers}),
        latency=_spread(arms, "latency_ratio", "latency_interval"),
        accuracy=_spread(arms, figure, f"{figure}_interval") if figure else None,
        kept=_kept(arms, figure),
        parameters=statistics.mean(arm["parameters"] for arm in arms) / base["parameters"],
        macs=statistics.mean(arm["macs"] for arm in arms) / base["macs"],
        often={
            layer: sum(layer in chosen for chosen in layers)
            for layer in dict.fromkeys(layer for chosen in layers for layer in chosen)
        },
    )


def _kept(arms: Sequence[Mapping[str, Any]], figure: str | None) -> Spread | None:
    key = f"{figure}_ratio"
    if any(arm.get(key) is None for arm in arms):
        return None
    return _spread(arms, key, f"{key}_interval")


def _spread(arms: Sequence[Mapping[str, Any]], value: str, interval: str) -> Spread:
    return Spread(
        statistics.median(arm[value] for arm in arms),
        min(arm[interval][0] for arm in arms),
        max(arm[interval][1] for arm in arms),
    )


def _label(criterion: str, mode: str) -> str:
    return OURS if mode == DEFAULT else f"{criterion} {mode}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None
