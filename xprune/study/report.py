"""Write `study.md` and `study.html`, the plots in it; both need no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime_bench.files import write_text
from xprune.explain import wording
from xprune.explain.report import templates
from xprune.explain.study_chart import ArmFigure, study_plot
from xprune.study.config import DEFAULT, ZEROED
from xprune.study.rows import NAMES, Row, Spread, errors_of, percent, rows_of
from xprune.study.table import (
    AGREEMENT,
    CHOSEN,
    agreement_cells,
    cells_of,
    chosen_cells,
    controls_line,
    facts_of,
    header_of,
    markdown_of,
    notes_of,
)

MARKDOWN_FILE = "study.md"
HTML_FILE = "study.html"


def write_reports(folder: Path, content: Mapping[str, Any]) -> None:
    """Write both reports beside the JSON.

    Args:
        folder: Of the study.
        content: What `study.json` holds.
    """
    write_text(folder / MARKDOWN_FILE, markdown_of(content))
    page = templates().get_template("study.html.j2").render(_facts(content))
    # A file name that is no valid UTF-8 holds lone surrogates, which no HTML file can hold.
    write_text(folder / HTML_FILE, page.encode("utf-8", "replace").decode("utf-8"))


def _facts(content: Mapping[str, Any]) -> dict[str, object]:
    architectures = content["architectures"]
    return {
        "names": ", ".join(str(one["name"]) for one in architectures),
        "notes": notes_of(content),
        "plots": [
            (title, lead, plot)
            for title, lead, plot in (
                (
                    "Latency",
                    "Left is faster; 1 is the unpruned network. Hollow marks are the control: "
                    "zeroed layers that stay.",
                    study_plot(_latencies(content), name="latency"),
                ),
                (
                    "Accuracy kept",
                    "Right is better; 1 is the unpruned network. Trained networks with "
                    "labelled test pictures only.",
                    study_plot(_kept(content), name="accuracy"),
                ),
            )
            if plot is not None
        ],
        "architectures": [
            {
                "name": one["name"],
                "facts": facts_of(one),
                "header": header_of(one),
                "rows": cells_of(one),
                "control": controls_line(one),
            }
            for one in architectures
        ],
        "errors": errors_of(content),
        "agreement": (AGREEMENT, agreement_cells(content)),
        "chosen": (CHOSEN, chosen_cells(content)),
        "command": content["command"],
        "environment": wording.text_of(
            {
                "processor": content["machine"].get("cpu"),
                "threads": content["study"]["threads"] or "all",
                "seeds": content["study"]["seeds"],
                "versions": content["versions"],
            }
        ),
    }


def _latencies(content: Mapping[str, Any]) -> list[ArmFigure]:
    return [
        _figure(one, row, row.latency)
        for one in content["architectures"]
        for row in rows_of(one)
    ]


def _kept(content: Mapping[str, Any]) -> list[ArmFigure]:
    return [
        _figure(one, row, row.kept, more=f", {NAMES[one['figure']]}")
        for one in content["architectures"]
        for row in rows_of(one)
        if row.kept is not None
    ]


def _figure(one: Mapping[str, Any], row: Row, spread: Spread, *, more: str = "") -> ArmFigure:
    untrained = "" if one["trained"] else ", untrained"
    return ArmFigure(
        place=f"{one['name']}, {percent(row.ratio)}{more}{untrained}",
        arm=row.name,
        value=spread.middle,
        interval=(spread.low, spread.high),
        ours=row.mode == DEFAULT,
        hollow=row.mode == ZEROED,
        family=row.criterion,
    )
