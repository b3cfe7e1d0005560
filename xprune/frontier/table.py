"""A frontier as a table: on the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xprune.explain.markdown import markdown_table, plain
from xprune.frontier.result import by_budget, figure_in

# Columns of the terminal, by their places in the header.
NARROW = (0, 1, 2, 4, 5, 6, 7, 8, 9)
# Narrower than this the terminal's table would lose figures; what is piped is 80 wide.
LEAST_WIDTH = 100


def header_of(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the columns of the table are called."""
    _, name = figure_in(content)
    latency = ("budget", "method", "latency", "95 %")
    return (*latency, name, "95 %", "kept", "input", "precision", "layers")


def rows_of(content: Mapping[str, Any]) -> list[list[str]]:
    """Return the table's rows: of each budget the most accurate first."""
    return [
        _row(budget, point, figure_in(content)[0])
        for budget, points in by_budget(content).items()
        for point in points
        if "error" not in point
    ]


def errors_of(content: Mapping[str, Any]) -> list[str]:
    """Return a line for each method that has nothing for a budget: which, and why."""
    return [
        f"{point['method']} for {point['budget']:g}: {point['error']}"
        for points in by_budget(content).values()
        for point in points
        if "error" in point
    ]


def differences_of(content: Mapping[str, Any]) -> list[list[str]]:
    """Return a row for each pair of ours and an alternative: by how much ours is better."""
    key, _ = figure_in(content)
    return [_difference(entry, key) for entry in content["differences"]]


def markdown_of(content: Mapping[str, Any]) -> str:
    """Return the frontier as a Markdown page."""
    base = content["base"]
    key, name = figure_in(content)
    lines = [
        f"# Frontier of {plain(base['model'])}",
        "",
        f"Unpruned, in plain export: {name} {base[key]:.4f} "
        f"({_span(base[f'{key}_interval'])}), {base['latency_s'] * 1000:.2f} ms at "
        f"{_size(base['imgsz'])}. Latencies are shares of that, all timed in turn in one run; "
        f"{name} is of {content['data']['test']} test pictures, its interval over pictures. A "
        "latency that is off is more than 2 % away from its budget.",
        "",
        markdown_table(header_of(content), rows_of(content)),
        "",
        *(f"- {plain(line)}" for line in errors_of(content)),
    ]
    if content["differences"]:
        lines += [
            "",
            "By how much ours is better, on the same pictures:",
            "",
            markdown_table(
                ("budget", "ours", "against", name, "95 %"),
                differences_of(content),
            ),
        ]
    return "\n".join([*lines, ""])


def show_frontier(
    content: Mapping[str, Any], folder: Path, console: Console | None = None
) -> None:
    """Print the table and where the rest lies."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, LEAST_WIDTH)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    header, (key, name) = header_of(content), figure_in(content)
    for place in NARROW:
        right = header[place] not in ("method", "precision")
        table.add_column(
            header[place],
            justify="right" if right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows_of(content):
        table.add_row(*(Text(row[place]) for place in NARROW))
    console.print(table)
    for line in errors_of(content):
        console.print(line, markup=False, highlight=False)
    base = content["base"]
    console.print(
        f"Unpruned: {name} {base[key]:.4f}, {base['latency_s'] * 1000:.2f} ms at "
        f"{_size(base['imgsz'])}\nReport:   {folder / 'frontier.html'}",
        markup=False,
        highlight=False,
    )


def _row(budget: float, point: Mapping[str, Any], key: str) -> list[str]:
    head = [f"{budget:g}", str(point["method"])]
    kept = point[f"{key}_ratio"]
    return [
        *head,
        f"{point['latency_ratio']:.3f}" + ("" if point["on_budget"] else " off"),
        _span(point["latency_interval"]),
        f"{point[key]:.4f}",
        _span(point[f"{key}_interval"]),
        "" if kept is None else f"{kept:.3f}",
        _size(point["imgsz"]),
        str(point["precision"]),
        str(len(point["removed"])),
    ]


def _difference(entry: Mapping[str, Any], key: str) -> list[str]:
    return [
        f"{entry['budget']:g}",
        str(entry["method"]),
        f"{entry['against']} at {_size(entry['against_imgsz'])}",
        f"{entry[f'{key}_difference']:+.4f}",
        _span(entry[f"{key}_interval"], sign="+"),
    ]


def _span(ends: Sequence[float], *, sign: str = "") -> str:
    return (" to " if sign else "–").join(f"{end:{sign}.3f}" for end in ends)


def _size(imgsz: Sequence[int]) -> str:
    return "x".join(map(str, imgsz))
