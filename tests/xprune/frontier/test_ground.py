"""What every arm stands on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from xprune.frontier.make import open_ground


def test_every_arm_is_recovered_as_was_asked(
    tmp_path: Path, settings_of, no_rewrites: None
) -> None:
    """Also one that is no run of our line: with labels where that is what was asked."""
    settings = replace(settings_of(), recover="finetune")
    ground = open_ground(settings, tmp_path / "frontier", lambda line: None)

    bench = ground.workbench(tmp_path / "frontier" / "arm", imgsz=(48, 64))

    assert bench.run.config.recover == "finetune"
