"""Make a frontier: every arm once, then all of them timed in one run and scored alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from runtime_bench.files import remove_leftovers, write_json
from runtime_bench.progress import track
from xprune.frontier.arms import ARM_FILE, ARMS_FOLDER, Method, make_arm
from xprune.frontier.ground import Ground
from xprune.frontier.report import write_reports
from xprune.frontier.result import PROGRAM, measure_arms
from xprune.frontier.settings import FrontierSettings, check_settings, settle
from xprune.run_folder import RunFolder
from xprune.stages.workbench import Workbench

RESULT_FILE = "frontier.json"


def make_frontier(
    settings: FrontierSettings,
    folder: Path,
    methods: Mapping[str, Method],
    *,
    say: Callable[[str], None],
    program: str = PROGRAM,
) -> dict[str, Any]:
    """Make what is missing in `folder`, time all arms in one run, and leave the result.

    Arms that an earlier command made there are in the result as well.

    Args:
        settings: What is asked for.
        folder: New, or of the same frontier.
        methods: All that may be asked for.
        say: Tells a person, in one line, what is being done.
        program: What makes a point again, before its options.

    Returns:
        What `frontier.json` holds.

    Raises:
        UsageError: If what is asked for cannot be.
        EdgeError: If the model, the data or the folder cannot be used.
    """
    check_settings(settings, methods)
    ground = open_ground(settings, folder, say)
    wanted = dict.fromkeys([*settings.arms, *made_in(folder, methods)])
    arms = [
        make_arm(ground, name, methods[name], budget)
        for name, budget in track(wanted, label="Arms")
    ]
    content = measure_arms(ground, arms, program=program)
    write_json(folder / RESULT_FILE, content)
    write_reports(folder, content, {name: method.label for name, method in methods.items()})
    return content


def made_in(folder: Path, methods: Collection[str]) -> list[tuple[str, float]]:
    """Return the arms that are whole in a folder, of these methods; the slowest come first."""
    found = []
    for path in sorted((folder / ARMS_FOLDER).glob(f"*/{ARM_FILE}")):
        name, _, budget = path.parent.name.rpartition("-")
        if name in methods:
            found.append((name, float(budget)))
    return sorted(found, key=lambda arm: -arm[1])


def open_ground(settings: FrontierSettings, folder: Path, say: Callable[[str], None]) -> Ground:
    """Return what the arms in `folder` stand on, checked before anything is written."""
    _check_model(settings, folder, say)
    identity = settle(settings, folder)
    for place in (folder, *folder.rglob("*")):
        if place.is_dir():
            remove_leftovers(place)
    return Ground(folder, settings, identity, say)


def _check_model(settings: FrontierSettings, folder: Path, say: Callable[[str], None]) -> None:
    Workbench(RunFolder(folder, settings.config), say).check()
