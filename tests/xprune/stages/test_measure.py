"""The last stage: an artifact that is whole at any moment, and a command to repeat the run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.artifact.manifest import read_manifest
from tests.cli.commands import TINY, run, write_tiny_yaml
from tests.cli.shortcuts import export_once, measure_briefly
from xprune.cli import main
from xprune.config import make_config, parse_imgsz
from xprune.stages.measure import command_of

OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["builtin", "my model.pt", "yolov8n"]),
        "weights": st.sampled_from(["none", "a.pth"]),
        "data": st.sampled_from(["builtin", "a.yaml"]),
        "calibration": st.just("it's mine"),
        "images": st.integers(1, 500),
        "imgsz": st.tuples(st.integers(1, 640), st.integers(1, 640)),
        "conf": st.floats(0.01, 1.0),
        "seed": st.integers(0, 9),
        "skip_bad": st.booleans(),
        "criterion": st.sampled_from(["l1", "fisher"]),
        "fraction": st.floats(0.01, 1.0),
        "raw": st.booleans(),
    },
)


@given(OPTIONS)
def test_the_command_in_the_summary_makes_the_same_run(options: dict[str, Any]) -> None:
    """Read by the command's own parser, it gives the configuration that it was made from."""
    config = make_config(options)

    words = shlex.split(command_of(config))

    context = main.commands["prune-export"].make_context(words[1], words[2:])
    read = {name: value for name, value in context.params.items() if value is not None}
    if "imgsz" in read:
        read["imgsz"] = parse_imgsz(read["imgsz"])
    assert words[:2] == ["xprune-edge", "prune-export"]
    assert make_config(read) == config


def test_the_artifact_is_whole_while_its_report_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped right after the second report was written, the manifest still holds."""
    write_tiny_yaml(tmp_path)
    monkeypatch.chdir(tmp_path)
    export_once(monkeypatch)
    measure_briefly(monkeypatch)
    command = ("prune-export", *TINY, "--out", "out")
    assert run(*command).exit_code == 0
    (tmp_path / "out" / "summary.json").unlink()

    import xprune.stages.measure as measure

    write = measure.write_report

    def stop_after(path: Path, **rest: Any) -> None:
        write(path, **rest)
        path.write_text(path.read_text() + "<!-- another -->")
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "write_report", stop_after)
    stopped = run(*command)
    in_between = read_manifest(tmp_path / "out" / "artifact")
    monkeypatch.setattr(measure, "write_report", write)
    again = run(*command)

    assert stopped.exit_code == 130
    assert "report.html" not in in_between.files
    assert again.exit_code == 0, again.output
    assert "report.html" in read_manifest(tmp_path / "out" / "artifact").files
