"""The candidates as a list for people: what `xprune-edge layers` shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from runtime_bench.runtime.profile import node_times
from runtime_bench.timing.timings import RUNS
from xprune.layers.substitutes import applicable
from xprune.pruning.latency_table import time_inside
from xprune.stages.workbench import Workbench

WIDTH_IN_A_FILE = 160


def list_layers(bench: Workbench, *, latency: bool) -> list[dict[str, Any]]:
    """Return one entry for each candidate, in the order in which they run.

    Args:
        bench: Of a model alone.
        latency: Whether to measure each layer's share of the network's time.
    """
    rows = [
        {**asdict(candidate), "substitutes": list(applicable(candidate))}
        for candidate in bench.candidates
    ]
    if latency:
        # Grey, since a model alone has no pictures; a convolution takes the same time on them.
        times = node_times(
            bench.unpruned_graph,
            [bench.grey_image()],
            bench.session,
            runs=RUNS,
        )
        for row in rows:
            row["share"] = time_inside(times.by_source, row["name"]) / times.total_s
    return rows


def show_layers(rows: list[dict[str, Any]], console: Console | None = None) -> None:
    """Print the list as a table that fits into 80 columns; names are whole, to be copied."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    with_share = any("share" in row for row in rows)
    for name in ("layer", "type", "shape"):
        table.add_column(name, no_wrap=True)
    for name in ("params", "MACs", *(["time"] if with_share else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            row["type"],
            _change(_shapes(row["input_shapes"]), _shapes(row["output_shapes"])),
            _short(row["parameters"]),
            _short(row["macs"]),
            *([f"{row['share']:.1%}"] if with_share else []),
        )
    console = console or Console()
    if not console.is_terminal:
        console.width = WIDTH_IN_A_FILE  # nothing is cut off where lines may be long
    console.print(table)


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"


def _short(count: int) -> str:
    """Return a number in at most six characters: 432, 3.5 K, 12.3 M, 9.9 G."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "K")):
        if count >= size:
            return f"{count / size:.{1 if count < 100 * size else 0}f} {unit}"
    return str(count)


def _shapes(shapes: Any) -> str:
    channels, height, width = shapes[0]
    more = f" and {len(shapes) - 1} more" if len(shapes) > 1 else ""
    return f"{channels}x{height}x{width}{more}"
