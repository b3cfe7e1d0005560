"""A study as tables: on the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xprune.explain.markdown import markdown_table, plain
from xprune.explain.wording import MISSING
from xprune.study.rows import (
    NAMES,
    Row,
    Spread,
    agreements_of,
    controls_of,
    errors_of,
    percent,
    repeated,
    rows_of,
)

LEAST_WIDTH = 100
AGREEMENT = (
    *("architecture", "ratio", "first", "second", "same layers", "by chance"),
    *("Spearman", "Kendall", "convolutions"),
)
CHOSEN = ("architecture", "arm", "ratio", "layers, in how many seeds", "alike over seeds")


def header_of(architecture: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the columns of an architecture's table are called."""
    figure = architecture["figure"]
    measured = (NAMES[figure], "95 %", "kept") if figure else ()
    return ("arm", "ratio", "layers", "latency", "95 %", *measured, "parameters", "MACs")


def cells_of(architecture: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of an architecture's table."""
    return [_cells(architecture, row) for row in rows_of(architecture)]


def agreement_cells(content: Mapping[str, Any]) -> list[list[str]]:
    """Return a row for each architecture and pair of choices."""
    return [
        [
            str(one["architecture"]),
            percent(one["ratio"]),
            one["first"],
            one["second"],
            _figure(one["jaccard"]),
            _figure(one["by_chance"]),
            _figure(one["spearman"]),
            _figure(one["kendall"]),
            MISSING if one["convolutions"] is None else str(one["convolutions"]),
        ]
        for one in agreements_of(content)
    ]


def chosen_cells(content: Mapping[str, Any]) -> list[list[str]]:
    """Return a row for each arm: its layers, and in how many seeds each was chosen."""
    return [
        [
            str(one["name"]),
            row.name,
            percent(row.ratio),
            ", ".join(_often(layer, count, row.seeds) for layer, count in row.often.items()),
            _figure(repeated(one, row)),
        ]
        for one in content["architectures"]
        for row in rows_of(one)
    ]


def facts_of(architecture: Mapping[str, Any]) -> str:
    """Say what an architecture's unpruned network is, and what can be chosen of it."""
    base, figure = architecture["base"], architecture["figure"]
    data = architecture["data"]
    height, width = architecture["imgsz"]
    start = "" if architecture["trained"] else "Untrained: random weights, so no accuracy. "
    accuracy = f"{NAMES[figure]} {base[figure]:.4f}, " if figure in base else ""
    pictures = len(next(iter(data["calibration"].values())))
    return (
        f"{start}Unpruned: {accuracy}{base['latency_s'] * 1000:.2f} ms at {height}x{width}, "
        f"{base['parameters'] / 1e6:.2f} M parameters, {base['macs'] / 1e9:.3f} G "
        f"multiply-adds, {architecture['convolutions']} convolutions, of which "
        f"{architecture['bypassable']} keep their shape and can be bypassed. Scored on "
        f"{pictures} of {data['pool']} pictures against {data['targets']}; "
        f"{len(data['test'])} others test. {architecture['timed']['rounds']} rounds of "
        f"timing{', without NMS' if architecture['timed']['without_nms'] else ''}."
    )


def controls_line(architecture: Mapping[str, Any]) -> str:
    """Say what nothing at all did to the latency, and what zeroing alone did."""
    base, found = architecture["base"], controls_of(architecture)
    low, high = base["again_interval"]
    text = (
        f"Controls: the unpruned network once more {base['again_ratio']:.3f} of the latency "
        f"({low:.3f}–{high:.3f})"
    )
    if found is None:
        return f"{text}."
    return f"{text}, zeroed and not cut {found.middle:.3f} ({_span(found)} in all)."


def notes_of(content: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know of the tables."""
    study = content["study"]
    return [
        "zeroed: all weights of the chosen convolutions are 0 and the layers stay, as in the "
        "seed paper's experiments; removed: they are bypassed, their normalisations stay, and "
        "nothing is refitted; ours: layers "
        f"by {study['own_criterion']}, in their place '{study['own_substitute']}', solved, and "
        "what follows refitted. No rewrites and no training in any.",
        "The ratio is of all convolutions, rounded up. Zeroing chooses among all of them, "
        "bypassing among those that keep their shape; ours takes as many layers, and a layer "
        "may be a block of several convolutions.",
        "Latencies are shares of the unpruned network's: all artifacts of an architecture are "
        "timed in turn in one run, opened anew four times, since where a session lies in "
        "memory matters; detectors without the NMS at their end, which takes the longer the "
        "more boxes there are. Figures are medians over seeds, an interval covers "
        "the 95 % intervals of all seeds. Parameters and MACs are shares too, zeros counted.",
        f"“{NAMES['same_answers']}”, of trained networks without labelled pictures, is not "
        "accuracy: the share of pictures that get the unpruned network's class, or the AP of "
        "boxes against its own.",
        "Same layers: those that both choose, of those that either does (Jaccard), by the "
        "convolutions that go. By chance: what two random choices would share. Spearman and "
        "Kendall rank all convolutions that both score.",
    ]


def markdown_of(content: Mapping[str, Any]) -> str:
    """Return the study as a Markdown page."""
    machine = content["machine"]
    lines = [
        "# The seed paper's table, ours",
        "",
        f"`{plain(content['command'])}` on {plain(machine.get('cpu'))}, "
        f"threads: {content['study']['threads'] or 'all'}, seeds: "
        f"{', '.join(map(str, content['study']['seeds']))}.",
        "",
        *(f"- {plain(note)}" for note in notes_of(content)),
    ]
    for one in content["architectures"]:
        lines += [
            *("", f"## {plain(one['name'])}", "", plain(facts_of(one)), ""),
            markdown_table(header_of(one), cells_of(one)),
            *("", plain(controls_line(one))),
        ]
    errors = errors_of(content)
    if errors:
        lines += ["", "## What could not be made", "", *(f"- {plain(line)}" for line in errors)]
    lines += [
        *("", "## How much the criteria agree", ""),
        markdown_table(AGREEMENT, agreement_cells(content)),
        *("", "## Which layers", ""),
        markdown_table(CHOSEN, chosen_cells(content)),
    ]
    return "\n".join([*lines, ""])


def show_study(
    content: Mapping[str, Any], folder: Path, console: Console | None = None
) -> None:
    """Print the tables and where the rest lies."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, LEAST_WIDTH)
    for one in content["architectures"]:
        console.print(f"\n{one['name']}", style="bold", markup=False, highlight=False)
        console.print(facts_of(one), markup=False, highlight=False)
        table = Table(box=None, pad_edge=False, padding=(0, 1))
        for name in header_of(one):
            table.add_column(name, justify="left" if name == "arm" else "right", no_wrap=True)
        for row in cells_of(one):
            table.add_row(*map(Text, row))
        console.print(table)
        console.print(controls_line(one), markup=False, highlight=False)
    for line in errors_of(content):
        console.print(line, markup=False, highlight=False)
    console.print(f"\nReport: {folder / 'study.html'}", markup=False, highlight=False)


def _cells(architecture: Mapping[str, Any], row: Row) -> list[str]:
    measured = []
    if architecture["figure"]:
        accuracy = row.accuracy
        assert accuracy is not None, "an arm that was made was scored"
        kept = MISSING if row.kept is None else f"{row.kept.middle:.3f}"
        measured = [f"{accuracy.middle:.4f}", _span(accuracy), kept]
    return [
        row.name,
        percent(row.ratio),
        str(row.layers),
        f"{row.latency.middle:.3f}",
        _span(row.latency),
        *measured,
        f"{row.parameters:.3f}",
        f"{row.macs:.3f}",
    ]


def _often(layer: str, count: int, seeds: int) -> str:
    return layer if count == seeds else f"{layer} ({count} of {seeds})"


def _span(spread: Spread) -> str:
    # An interval around an AP of 0 begins below it.
    return f"{max(spread.low, 0.0):.3f}–{spread.high:.3f}"


def _figure(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"
