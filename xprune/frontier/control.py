"""A control: the weights of chosen convolutions are zeroed, and nothing is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xprune.frontier.arms import Made, Method, folder_name
from xprune.frontier.ground import Ground
from xprune.frontier.line import RUN_FOLDER, plan_of, run_line
from xprune.layers.zeroed import zeroed
from xprune.stages.plan import PLAN_FILE


def zeroed_method(label: str, *, like: str, **options: Any) -> Method:
    """Return the method that zeroes the layers which our line would replace.

    There is no recovery, since a training would fill the weights again, and no rewrite, so that
    a latency ratio of 1 says what it should: nothing was won.

    Args:
        label: What it is, in a few words.
        like: The method with these options; if its plan is there, it is used.
        options: Of the line.
    """

    def build(ground: Ground, budget: float, folder: Path) -> list[Made]:
        there = folder.with_name(folder_name(like, budget)) / RUN_FOLDER
        place = there if (there / PLAN_FILE).exists() else folder / RUN_FOLDER
        run = run_line(ground, place, last="plan", speedup=1 / budget, **options)
        layers = [choice.layer for choice in plan_of(run).choices]
        bench = ground.bench
        network = zeroed(bench.detector.network, layers)
        artifact = ground.ship(bench, network, folder / "artifact", rewritten=False)
        removed = [{"layer": layer, "substitute": "zeroed weights"} for layer in layers]
        return [Made(artifact=artifact, imgsz=bench.size, removed=removed)]

    return Method(label, build, facts=options)
