"""Make a frontier: every arm once, then all of them timed in one run and scored alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runtime_bench.files import remove_leftovers, write_json
from runtime_bench.progress import track
from xprune.frontier.arms import Arm, Method, make_arm
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
    wanted = [(name, budget) for budget in settings.budgets for name in settings.methods]
    arms: list[Arm] = []
    for name, budget in track(wanted, label="Arms"):
        arms.append(make_arm(ground, name, methods[name], budget))
    content = measure_arms(ground, arms, program=program)
    write_json(folder / RESULT_FILE, content)
    write_reports(folder, content, {name: method.label for name, method in methods.items()})
    return content


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
