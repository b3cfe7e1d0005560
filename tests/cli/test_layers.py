"""`layers`: a table that a person can read, and JSON for a program."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from tests.cli.commands import run

pytestmark = pytest.mark.needs_torch

TINY = ("--model", "tiny.yaml", "--weights", "none", "--imgsz", "64", "--threads", "1")


def test_json_lists_every_candidate(place: Path) -> None:
    """Type, shapes, parameters and multiply-adds are those of the layer; children name it."""
    done = run("layers", *TINY, "--json")

    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.exit_code == 0, done.output
    convolution = rows["model.1.conv"]
    assert convolution["type"] == "Conv2d"
    assert convolution["parent"] == "model.1"
    assert convolution["input_shapes"] == [[8, 32, 32]]
    assert convolution["output_shapes"] == [[16, 16, 16]]
    assert convolution["parameters"] == 8 * 16 * 9
    assert convolution["macs"] == 8 * 16 * 9 * 16 * 16
    assert "identity" in rows["model.2.m.0"]["substitutes"]
    assert "identity" not in convolution["substitutes"]


def test_the_second_stage_counts_all_the_regions_it_looks_at(place: Path) -> None:
    """Not only the best of them, which losses look at."""
    model = ("--model", "fasterrcnn:shufflenet_v2_x0_5", "--weights", "none", "--imgsz", "64")
    done = run("layers", *model, "--regions", "90", "--json")

    assert done.exit_code == 0, done.output
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    layer = rows["roi_heads.box_head.fc7"]
    assert layer["macs"] == 90 * 1024 * 1024


def test_latency_adds_shares_of_the_time(place: Path, brief: None) -> None:
    """No share is more than all; a block takes at least what its parts take."""
    done = run("layers", *TINY, "--latency", "--json")

    assert done.exit_code == 0, done.output
    share = {row["name"]: row["share"] for row in json.loads(done.stdout)}
    assert all(0 <= value <= 1 for value in share.values())
    assert share["model.2"] >= share["model.2.m.0"] >= share["model.2.m.0.cv1"]


def test_the_table_has_a_line_for_each_layer(place: Path) -> None:
    """Names are whole, so that they can be copied; a shape that stays is said once."""
    done = run("layers", *TINY)

    lines = done.stdout.splitlines()
    assert done.exit_code == 0, done.output
    assert lines[0].split() == ["layer", "type", "shape", "params", "MACs"]
    assert len(lines) == 1 + len(json.loads(run("layers", *TINY, "--json").stdout))
    (line,) = [line for line in lines if line.startswith("model.2.m.0.cv1.conv ")]
    assert line.split() == ["model.2.m.0.cv1.conv", "Conv2d", "8x16x16", "576", "147", "K"]
    assert "8x32x32 → 16x16x16" in done.stdout


def test_the_table_fits_into_80_columns() -> None:
    """The longest names and largest figures of a large model at 640 px are shown whole."""
    from xprune.layer_list import show_layers

    names = ("model.22", "model.22.cv3.0", "model.22.cv3.0.0", "model.22.cv3.0.0.conv")
    rows = [
        {
            "name": name,
            "type": "Bottleneck",
            "input_shapes": [[640, 160, 160]],
            "output_shapes": [[640, 80, 80]],
            "parameters": 12_345_678,
            "macs": 9_876_543_210,
            "share": 0.123,
        }
        for name in names
    ]
    console = Console(width=80, force_terminal=True, no_color=True, file=io.StringIO())

    with console.capture() as shown:
        show_layers(rows, console)

    lines = Text.from_ansi(shown.get()).plain.splitlines()
    assert max(map(len, lines)) <= 80
    for name, line in zip(names, lines[1:], strict=True):
        assert line.split() == [
            *(name, "Bottleneck", "640x160x160", "→", "640x80x80"),
            *("12.3", "M", "9.9", "G", "12.3%"),
        ]
