"""Make a method's points anew in a fresh folder and compare them with what the JSON says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import read_json
from xprune.frontier.arms import Method
from xprune.frontier.make import RESULT_FILE, make_frontier
from xprune.frontier.result import FORMAT
from xprune.frontier.settings import FrontierSettings, given_options, settings_in
from xprune.summary import FIGURES

# Another run on the same machine may differ by so much of the latency.
LATENCY_TOLERANCE = 0.03


@dataclass(frozen=True)
class Check:
    """One figure there and here, and whether they agree."""

    what: str
    there: str
    here: str
    agrees: bool


def recheck_points(
    folder: Path,
    method: str,
    methods: Mapping[str, Method],
    *,
    budgets: tuple[float, ...],
    say: Callable[[str], None],
) -> bool:
    """Make the points of a method anew and say how they compare; return whether they agree.

    What is made anew is chosen by the frontier's own settings, which is what the command of a
    point says too; nothing that a file holds is run.

    Args:
        folder: Of the frontier.
        method: The method.
        methods: All that there are.
        budgets: Only these; all of the method's if empty.
        say: Tells a person, in one line, what is being done.

    Raises:
        UsageError: If the frontier has no such points.
        EdgeError: If there is no frontier.
    """
    options = settings_in(folder)
    points = _points(folder, method, budgets)
    settings = FrontierSettings(
        options=given_options(options),
        arms=tuple(dict.fromkeys((method, float(point["budget"])) for point in points)),
        recover=str(options["recover"]),
        recover_minutes=float(options["recover_minutes"]),
    )
    with tempfile.TemporaryDirectory(prefix="xprune-recheck-") as place:
        anew = make_frontier(settings, Path(place) / "frontier", methods, say=say)
    agrees = True
    for there, here in _pairs(points, anew["points"]):
        click.echo(f"{method} for {there['budget']:g}: {there['command']}")
        for check in compare(there, here):
            word = "agrees" if check.agrees else "differs"
            click.echo(f"  {check.what}: {check.there} there, {check.here} here: {word}")
        agrees &= all(check.agrees for check in compare(there, here))
    click.echo("All agree" if agrees else "Not all agree")
    return agrees


def compare(there: Mapping[str, Any], here: Mapping[str, Any] | None) -> list[Check]:
    """Return how a point and what was made anew compare.

    The same model is the same file. Where another plan was found, since plans follow measured
    times, its accuracy must lie in the interval of the point's and its latency within 3 %.
    """
    if here is None or "error" in there or "error" in here:
        words = [
            "missing" if point is None else str(point.get("error", "made"))
            for point in (there, here)
        ]
        return [Check("result", words[0], words[1], words[0] == words[1])]
    key, name = next(figures[0] for figures in FIGURES.values() if figures[0][0] in there)
    low, high = there[f"{key}_interval"]
    ratio, ratio_here = there["latency_ratio"], here["latency_ratio"]
    same = there["sha256"] == here["sha256"]
    alike = same or (
        (there["imgsz"], there["precision"]) == (here["imgsz"], here["precision"])
        and there["plan"] == here["plan"]
    )
    return [
        Check(
            name,
            f"{there[key]:.4f} ({low:.4f} to {high:.4f})",
            f"{here[key]:.4f}",
            low <= here[key] <= high,
        ),
        Check(
            "latency",
            f"{ratio:.3f}",
            f"{ratio_here:.3f}",
            abs(ratio_here / ratio - 1) <= LATENCY_TOLERANCE,
        ),
        Check(
            "model",
            there["sha256"][:12],
            f"{here['sha256'][:12]} ({'the same' if same else 'another'} file, "
            f"{'the same' if alike else 'another'} plan)",
            True,
        ),
    ]


def _points(folder: Path, method: str, budgets: tuple[float, ...]) -> list[dict[str, Any]]:
    path = folder / RESULT_FILE
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise EdgeError(f"{path} is not a frontier; make it again with `xprune-edge frontier`")
    points = [
        point
        for point in content.get("points", [])
        if point["method"] == method and (not budgets or point["budget"] in budgets)
    ]
    if not points:
        known = sorted({f"{p['method']} for {p['budget']:g}" for p in content["points"]})
        raise UsageError(f"{path} has no such points; there are: {', '.join(known)}")
    return points


def _pairs(
    there: list[dict[str, Any]], here: list[dict[str, Any]]
) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Return each point with its equal: of its budget, and of its size where there are more."""

    def equal(point: dict[str, Any]) -> dict[str, Any] | None:
        same = [other for other in here if other["budget"] == point["budget"]]
        alike = [other for other in same if other.get("imgsz") == point.get("imgsz")]
        return next(iter(alike or same), None)

    return [(point, equal(point)) for point in there]
