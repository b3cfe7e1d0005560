"""Write `frontier.md` and `frontier.html`, the plot in it; both need no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime_bench.files import write_text
from xprune.explain import wording
from xprune.explain.frontier_chart import FrontierPoint, frontier_plot
from xprune.explain.report import templates
from xprune.frontier.result import OURS, figure_in
from xprune.frontier.table import (
    differences_of,
    errors_of,
    header_of,
    markdown_of,
    rows_of,
)

MARKDOWN_FILE = "frontier.md"
HTML_FILE = "frontier.html"


def write_reports(folder: Path, content: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    """Write both reports beside the JSON.

    Args:
        folder: Of the frontier.
        content: What `frontier.json` holds.
        labels: What each method is, in a few words.
    """
    write_text(folder / MARKDOWN_FILE, markdown_of(content))
    page = templates().get_template("frontier.html.j2").render(_facts(content, labels))
    # A file name that is no valid UTF-8 holds lone surrogates, which no HTML file can hold.
    write_text(folder / HTML_FILE, page.encode("utf-8", "replace").decode("utf-8"))


def _facts(content: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, object]:
    points = [point for point in content["points"] if "error" not in point]
    base = content["base"]
    key, name = figure_in(content)
    used = dict.fromkeys(point["method"] for point in content["points"])
    return {
        "model": base["model"],
        "figure": name[:1].upper() + name[1:],
        "sentence": _sentence(content),
        "plot": frontier_plot(
            [_point(point, key) for point in points],
            unpruned=base[key],
            figure=name,
            budgets=sorted({float(point["budget"]) for point in content["points"]}),
        ),
        "header": header_of(content),
        "rows": rows_of(content),
        "errors": errors_of(content),
        "differences": differences_of(content),
        "methods": [(name, labels.get(name, "")) for name in used],
        "commands": list(dict.fromkeys(point["command"] for point in content["points"])),
        "environment": wording.text_of(
            {
                "processor": content["machine"].get("cpu"),
                "threads": content["timed"]["threads"] or "all",
                "rounds": content["timed"]["rounds"],
                "test pictures": content["data"]["test"],
                "versions": content["versions"],
            }
        ),
    }


def _sentence(content: Mapping[str, Any]) -> str:
    """Say the best of ours at the smallest and at the largest budget."""
    base = content["base"]
    key, name = figure_in(content)
    start = (
        f"Unpruned: {name} {wording.fixed(base[key], 3)} in "
        f"{wording.milliseconds(base['latency_s'])} ms."
    )
    ours = [
        point
        for point in content["points"]
        if "error" not in point and point["method"].startswith(OURS) and point[f"{key}_ratio"]
    ]
    if not ours:
        return start
    ends = dict.fromkeys((max, min))
    for end in ends:
        budget = end(point["budget"] for point in ours)
        best = max(
            (point for point in ours if point["budget"] == budget), key=lambda one: one[key]
        )
        start += (
            f" At {wording.fixed(best['latency_ratio'], 2)} of the latency "
            f"{wording.share(best[f'{key}_ratio'])} of the {name}."
        )
        if len({point["budget"] for point in ours}) == 1:
            break
    return start


def _point(point: Mapping[str, Any], key: str) -> FrontierPoint:
    low, high = point[f"{key}_interval"]
    height, width = point["imgsz"]
    return FrontierPoint(
        method=point["method"],
        latency=point["latency_ratio"],
        accuracy=point[key],
        interval=(low, high),
        detail=f", {height}x{width}, {point['precision']}, {len(point['removed'])} layers",
        ours=point["method"].startswith(OURS),
    )
