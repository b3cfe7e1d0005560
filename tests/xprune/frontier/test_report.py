"""Both reports: every figure is there, and nothing that comes from outside is markup."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.xprune.explain.test_report_in_browser import BROWSER, visit
from xprune.frontier.report import write_reports
from xprune.frontier.table import markdown_of, rows_of


def point(method: str, budget: float, ratio: float, ap: float, **more: Any) -> dict[str, Any]:
    """Return a point as the JSON has it."""
    return {
        "method": method,
        "budget": budget,
        "command": f"xprune-edge frontier --method {method} --budget {budget:g}",
        "ap": ap,
        "ap_interval": [ap - 0.02, ap + 0.02],
        "ap_ratio": ap / 0.29,
        "latency_ratio": ratio,
        "latency_interval": [ratio - 0.003, ratio + 0.003],
        "on_budget": abs(ratio / budget - 1) <= 0.02,
        "imgsz": [256, 320],
        "precision": "float32",
        "removed": [{"layer": "model.2"}],
        **more,
    }


CONTENT: dict[str, Any] = {
    "base": {
        "ap": 0.29,
        "ap_interval": [0.26, 0.32],
        "latency_s": 0.025,
        "imgsz": [320, 320],
        "model": "yolov8n",
    },
    "points": [
        point("ours", 0.8, 0.797, 0.285),
        point("ours", 0.5, 0.495, 0.27),
        point("input", 0.8, 0.79, 0.27),
        point("input", 0.8, 0.75, 0.26),
        point("l1", 0.8, 0.8, 0.01),
        point("int8", 0.5, 0.5, 0.25, precision="int8"),
        {"method": "random", "budget": 0.5, "command": "c", "error": "out of <reach>"},
    ],
    "differences": [
        {
            "budget": 0.8,
            "method": "ours",
            "against": "input",
            "against_imgsz": [256, 320],
            "ap_difference": 0.015,
            "ap_interval": [0.002, 0.03],
        }
    ],
    "timed": {"rounds": 200, "threads": 1},
    "machine": {"cpu": "a processor"},
    "versions": {"torch": "2"},
    "data": {"test": 200},
}


def test_rows_are_by_budget_and_then_by_ap() -> None:
    """The largest budget first; what failed is no row."""
    rows = rows_of(CONTENT)

    assert [(row[0], row[1]) for row in rows] == [
        ("0.8", "ours"),
        ("0.8", "input"),
        ("0.8", "input"),
        ("0.8", "l1"),
        ("0.5", "ours"),
        ("0.5", "int8"),
    ]
    assert rows[2][2] == "0.750 off"


def test_markdown_holds_points_differences_and_failures() -> None:
    """A cell cannot end its table, a text cannot become markup."""
    text = markdown_of(CONTENT)

    assert "| 0.8 | ours | 0.797 | 0.794–0.800 | 0.2850 | 0.265–0.305 | 0.983 |" in text
    assert "| 0.8 | ours | input at 256x320 | +0.0150 | +0.002 to +0.030 |" in text
    assert "random for 0.5: out of &lt;reach>" in text


def test_the_page_shows_every_point_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    """A hostile name of a model or method stays text."""
    content = copy.deepcopy(CONTENT)
    content["base"]["model"] = "<script>alert(1)</script>"
    content["points"][2]["method"] = content["points"][3]["method"] = "<img src=x>"

    write_reports(tmp_path, content, {"ours": "all <b>knobs</b>"})

    page = (tmp_path / "frontier.html").read_text()
    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;img src=x&gt;" in page
    assert page.count('class="mark') - page.count("</li>") == 7  # six points and the unpruned
    assert "At 0.80 of the latency 98" in page
    assert (tmp_path / "frontier.md").exists()


@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
def test_the_plot_is_drawn(tmp_path: Path) -> None:
    """A browser draws marks in the colours of ours and of others, without a complaint."""
    write_reports(tmp_path, CONTENT, {})

    seen = visit(tmp_path / "frontier.html")

    assert seen.complaints == []
    colours = {colour for _, colour in seen.screenshot.convert("RGB").getcolors(1 << 24)}
    assert (217, 87, 11) in colours  # --gone: ours
    assert (14, 116, 144) in colours  # the first of the others
