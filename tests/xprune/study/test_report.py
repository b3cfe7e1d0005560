"""The tables and the page of a study: every figure is there, and nothing becomes markup."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.xprune.explain.test_report_in_browser import BROWSER, visit
from xprune.study.report import write_reports
from xprune.study.rows import rows_of
from xprune.study.table import agreement_cells, cells_of, header_of, markdown_of


def arm(criterion: str, mode: str, seed: int, ratio: float, **more: Any) -> dict[str, Any]:
    """Return an arm as the JSON has it."""
    return {
        "criterion": criterion,
        "mode": mode,
        "ratio": 0.05,
        "seed": seed,
        "layers": [["model.2", mode], [f"model.{4 + seed}", mode]],
        "latency_ratio": ratio,
        "latency_interval": [ratio - 0.01, ratio + 0.01],
        "parameters": 900,
        "macs": 1500,
        **more,
    }


def scored(ap: float) -> dict[str, Any]:
    """Return the figures of an arm with an accuracy."""
    return {
        "ap": ap,
        "ap_interval": [ap - 0.02, ap + 0.02],
        "ap_ratio": ap / 0.4,
        "ap_ratio_interval": [ap / 0.4 - 0.05, ap / 0.4 + 0.05],
    }


def architecture(name: str, arms: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return an architecture as the JSON has it."""
    base = {
        "latency_s": 0.02,
        "again_ratio": 1.002,
        "again_interval": [0.99, 1.01],
        "parameters": 1000,
        "macs": 2000,
    }
    return {
        "name": name,
        "trained": False,
        "figure": None,
        "imgsz": [64, 96],
        "convolutions": 40,
        "bypassable": 20,
        "base": base,
        "arms": arms,
        "ranks": [],
        "choices": [],
        "repeats": [],
        "timed": {"rounds": 50, "without_nms": False},
        "data": {
            "test": ["a"] * 8,
            "pool": 90,
            "targets": "labels",
            "calibration": {"0": ["b"]},
        },
        **more,
    }


TRAINED = architecture(
    "yolov8n",
    [
        arm("l1", "zeroed", 0, 1.001, **scored(0.1)),
        arm("l1", "removed", 0, 0.96, **scored(0.2)),
        arm("l1", "removed", 1, 0.9, **scored(0.3)),
        arm("divergence", "default", 0, 0.93, **scored(0.39)),
        {**arm("l1", "removed", 0, 1.0), "ratio": 1.0, "error": "asks for <too> many"},
    ],
    trained=True,
    figure="ap",
    ranks=[
        {
            "seed": seed,
            "first": "l1",
            "second": "grad_act",
            "convolutions": 40,
            "spearman": 0.5 + seed,
            "kendall": None,
        }
        for seed in (0, 1)
    ],
    choices=[
        {
            "ratio": 0.05,
            "seed": 0,
            "first": ["l1", "zeroed"],
            "second": ["grad_act", "zeroed"],
            "jaccard": 0.25,
            "by_chance": 0.03,
        }
    ],
    repeats=[
        {"criterion": "l1", "mode": "removed", "ratio": 0.05, "seeds": [0, 1], "jaccard": 1 / 3}
    ],
)
TRAINED["base"] |= {"ap": 0.4, "ap_interval": [0.38, 0.42]}
CONTENT: dict[str, Any] = {
    "command": "xprune-edge study mine.toml",
    "study": {
        "seeds": [0, 1],
        "threads": 1,
        "own_criterion": "divergence",
        "own_substitute": "linear",
    },
    "architectures": [TRAINED, architecture("resnet50", [arm("l1", "zeroed", 0, 1.0)])],
    "machine": {"cpu": "a processor"},
    "versions": {"torch": "2"},
}


def test_seeds_are_one_row() -> None:
    """The median, what all intervals cover, and in how many seeds a layer was chosen."""
    row = next(row for row in rows_of(TRAINED) if row.mode == "removed")

    assert (row.seeds, row.choices, row.layers) == (2, 2, 2)
    assert row.latency.middle == pytest.approx(0.93)
    assert (row.latency.low, row.latency.high) == pytest.approx((0.89, 0.97))
    assert row.often == {"model.2": 2, "model.4": 1, "model.5": 1}
    assert (row.parameters, row.macs) == (0.9, 0.75)


def test_the_table_of_a_trained_network() -> None:
    """With its accuracy; what could not be made is no row."""
    assert header_of(TRAINED)[5:8] == ("AP", "95 %", "kept")
    assert cells_of(TRAINED)[1] == [
        *("l1 removed", "5 %", "2", "0.930", "0.890–0.970"),
        *("0.2500", "0.180–0.320", "0.625", "0.900", "0.750"),
    ]
    assert [row[0] for row in cells_of(TRAINED)] == ["l1 zeroed", "l1 removed", "ours"]


def test_the_table_of_an_untrained_network_has_no_column_for_accuracy() -> None:
    """Not even an empty one."""
    untrained = CONTENT["architectures"][1]

    assert header_of(untrained) == (
        *("arm", "ratio", "layers", "latency", "95 %", "parameters", "MACs"),
    )


def test_agreement_is_the_mean_over_seeds() -> None:
    """What is unknown is a dash."""
    assert agreement_cells(CONTENT) == [
        [
            *("yolov8n", "5 %", "l1 zeroed", "grad_act zeroed"),
            *("0.25", "0.03", "1.00", "—", "40"),
        ]
    ]


def test_markdown_says_what_is_untrained_and_what_the_controls_did() -> None:
    """And which machine it was, and why an arm is missing."""
    text = markdown_of(CONTENT)

    assert "on a processor, threads: 1, seeds: 0, 1." in text
    assert "Untrained: random weights, so no accuracy." in text.partition("## resnet50")[2]
    assert "Untrained" not in text.partition("## resnet50")[0]
    assert "once more 1.002 of the latency (0.990–1.010), zeroed and not cut 1.001" in text
    assert "- yolov8n, l1 removed, 100 %, seed 0: asks for &lt;too> many" in text
    assert (
        "| yolov8n | l1 removed | 5 % | model.2, model.4 (1 of 2), model.5 (1 of 2) | 0.33 |"
        in text
    )


def test_the_page_escapes_what_it_is_given(tmp_path: Path) -> None:
    """A hostile name of an architecture or a layer stays text."""
    content = copy.deepcopy(CONTENT)
    content["architectures"][0]["name"] = "<script>alert(1)</script>"
    content["architectures"][0]["arms"][0]["layers"] = [["<img src=x>", "zeroed"]]

    write_reports(tmp_path, content)

    page = (tmp_path / "study.html").read_text()
    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;img src=x&gt;" in page
    assert "Accuracy kept" in page


def test_without_any_accuracy_there_is_no_plot_of_it(tmp_path: Path) -> None:
    """Latencies are drawn all the same."""
    write_reports(tmp_path, {**CONTENT, "architectures": CONTENT["architectures"][1:]})

    page = (tmp_path / "study.html").read_text()
    assert "Accuracy kept" not in page
    assert page.count("<figure") == 1


@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
def test_the_plots_are_drawn(tmp_path: Path) -> None:
    """A browser draws marks in the colours of ours and of others, without a complaint."""
    write_reports(tmp_path, CONTENT)

    seen = visit(tmp_path / "study.html")

    assert seen.complaints == []
    colours = {colour for _, colour in seen.screenshot.convert("RGB").getcolors(1 << 24)}
    assert (217, 87, 11) in colours  # --gone: ours
    assert (14, 116, 144) in colours  # the first of the others
