"""Size, precision and layers chosen together, through the real command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime_bench.artifact.manifest import read_manifest
from tests.cli.commands import run

ASKED = (
    *("--imgsz", "auto", "--speedup", "1.4", "--substitute", "identity", "--threads", "1"),
    *("--images", "20", "--calibration-images", "8", "--criterion", "fisher"),
)


@pytest.mark.slow
@pytest.mark.usefixtures("brief")
def test_a_size_is_chosen_with_the_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ships has the chosen size; what it is compared with keeps the model's own."""
    monkeypatch.chdir(tmp_path)
    # Each costs a while, and a few show as much as many.
    monkeypatch.setattr("xprune.variants.lineup.MOST_SIZES", 3)
    monkeypatch.setattr("xprune.variants.choose.MOST_TRIED", 2)
    monkeypatch.setattr("xprune.variants.agreement.FEW", 32)
    monkeypatch.setattr("xprune.variants.agreement.MANY", 64)
    monkeypatch.setattr("xprune.data.sets.BUILTIN_RECOVERY_PICTURES", 64)

    done = run("prune-export", *ASKED, "--out", "out")

    assert done.exit_code == 0, done.output
    out = tmp_path / "out"
    document = json.loads((out / "variants.json").read_text())
    chosen = tuple(document["chosen"]["size"])
    assert read_manifest(out / "artifact").input.size == chosen
    assert read_manifest(out / "unpruned").input.size == (256, 256)
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["model"]["imgsz"], summary["model"]["base_imgsz"]) == (
        list(chosen),
        [256, 256],
    )
    assert "--imgsz auto" in summary["command"]
    assert summary["speedup"] > 1.2  # 1.4 was timed; a busy machine may say a little less
    looked_at = document["variants"]
    assert len(looked_at) > 2
    tried = [one for one in looked_at if one["after"] is not None]
    best = max(tried, key=lambda one: one["after"])
    assert best["variant"] == document["chosen"]

    before = (out / "variants.json").read_bytes()
    again = run("prune-export", *ASKED, "--out", "out")

    assert again.exit_code == 0, again.output
    assert "The result is measured already" in again.stderr
    assert (out / "variants.json").read_bytes() == before
