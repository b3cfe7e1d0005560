"""A workbench of a tiny network on the built-in scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import write_tiny_yaml
from xprune.config import make_config
from xprune.run_folder import RunFolder
from xprune.stages.workbench import Workbench

MakeBench = Callable[..., Workbench]


@pytest.fixture
def make_bench(tmp_path: Path, scenes_file: Path) -> MakeBench:
    """Make a workbench: random weights, four test and four calibration pictures at 64 px."""
    model = write_tiny_yaml(tmp_path)

    def make(**options: Any) -> Workbench:
        given = {
            "model": str(model),
            "weights": "none",
            "data": str(scenes_file),
            "imgsz": (64, 64),
            "images": 4,
            "calibration_images": 4,
            "layers": 1,
            "threads": 1,
            **options,
        }
        said: list[str] = []
        bench = Workbench(RunFolder(tmp_path / "run", make_config(given)), said.append)
        vars(bench)["said"] = said
        return bench

    return make
