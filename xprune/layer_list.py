"""The candidates as a list for people: what `xprune-edge layers` shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from runtime_bench.profile import node_times
from xprune.layers.substitutes import applicable
from xprune.pruning.latency_table import PROFILED_RUNS, time_inside
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
            runs=PROFILED_RUNS,
        )
        for row in rows:
            row["share"] = time_inside(times.by_source, row["name"]) / times.total_s
    return rows


def show_layers(rows: list[dict[str, Any]], console: Console | None = None) -> None:
    """Print the list as a table."""
    table = Table(box=None, pad_edge=False)
    with_share = any("share" in row for row in rows)
    for name in ("layer", "type", "shape"):
        table.add_column(name, no_wrap=True)
    for name in ("parameters", "MACs", *(["time"] if with_share else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        depth = sum(row["name"].startswith(f"{other['name']}.") for other in rows)
        table.add_row(
            "  " * depth + row["name"],
            row["type"],
            f"{_shapes(row['input_shapes'])} → {_shapes(row['output_shapes'])}",
            f"{row['parameters']:,}",
            f"{row['macs'] / 1e6:,.1f} M",
            *([f"{row['share']:.1%}"] if with_share else []),
        )
    console = console or Console()
    if not console.is_terminal:
        console.width = WIDTH_IN_A_FILE  # nothing is cut off where lines may be long
    console.print(table)


def _shapes(shapes: Any) -> str:
    channels, height, width = shapes[0]
    more = f" and {len(shapes) - 1} more" if len(shapes) > 1 else ""
    return f"{channels}x{height}x{width}{more}"
