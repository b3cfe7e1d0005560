"""A frontier of a tiny network, with methods that take no time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime_bench.errors import EdgeError
from tests.cli.commands import write_tiny_yaml
from xprune.contest import timing
from xprune.frontier.arms import Made, Method
from xprune.frontier.ground import Ground
from xprune.frontier.settings import FrontierSettings
from xprune.stages import rewrites

MakeSettings = Callable[..., FrontierSettings]


@pytest.fixture
def settings_of(tmp_path: Path, scenes_file: Path) -> MakeSettings:
    """Return settings of the tiny network at 64 px on four test pictures."""
    model = write_tiny_yaml(tmp_path)

    def make(*arms: tuple[str, float], **options: Any) -> FrontierSettings:
        given = {
            "model": str(model),
            "weights": "none",
            "data": str(scenes_file),
            "imgsz": (64, 64),
            "images": 4,
            "calibration_images": 4,
            "threads": 1,
            **options,
        }
        return FrontierSettings(given, arms, recover="refit")

    return make


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for a moment only."""
    monkeypatch.setattr(timing, "MIN_ROUNDS", 3)
    monkeypatch.setattr(timing, "MIN_TIME_S", 0.0)


@pytest.fixture
def no_rewrites(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not time which rewrites are faster."""
    monkeypatch.setattr(rewrites, "keep_faster", lambda *given, **named: ())


class Counted:
    """Methods that count how often they were asked: `smaller`, `same` and `never`."""

    def __init__(self) -> None:
        self.built: list[tuple[str, float]] = []

    @property
    def methods(self) -> dict[str, Method]:
        """All of them; two are named as if they were ours."""
        return {
            "ours": Method("a smaller input", self._smaller, {"size": 48}),
            "same": Method("the unpruned model once more", self._same),
            "never": Method("nothing", self._never),
        }

    def _smaller(self, ground: Ground, budget: float, folder: Path) -> list[Made]:
        self.built.append(("ours", budget))
        bench = ground.workbench(folder / "run", imgsz=(48, 64))
        artifact = ground.ship(bench, bench.detector.network, folder / "artifact")
        removed = [{"layer": "model.2", "substitute": "linear", "score": 0.5}]
        return [Made(artifact, bench.size, removed=removed, plan=[("model.2", "linear")])]

    def _same(self, ground: Ground, budget: float, folder: Path) -> list[Made]:
        self.built.append(("same", budget))
        artifact = ground.ship(ground.bench, ground.bench.detector.network, folder / "artifact")
        return [Made(artifact, ground.bench.size)]

    def _never(self, ground: Ground, budget: float, folder: Path) -> list[Made]:
        self.built.append(("never", budget))
        raise EdgeError(f"{budget:g} is\nout of reach")


@pytest.fixture
def counted() -> Counted:
    """Methods that take no time and count how often they were asked."""
    return Counted()
