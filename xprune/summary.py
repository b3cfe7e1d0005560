"""The end of a run as a person sees it on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime_bench.files import read_json

# What accuracy is told by, the first one first, by key and by name.
FIGURES = {
    "detect": (("ap", "AP"), ("ap50", "AP50")),
    "classify": (("top1", "top-1"), ("top5", "top-5")),
}


def figures_of(summary: Any) -> tuple[tuple[str, str], ...]:
    """Return keys and names of the figures that tell the accuracy of a run's models."""
    # Summaries of before there were classifiers name no task.
    return FIGURES.get(summary.get("task", "detect"), FIGURES["detect"])


def show_summary(folder: Path, console: Console | None = None) -> None:
    """Print what came out of the run in `folder`, and which layers went and why."""
    console = console or Console()
    summary: Any = read_json(folder / "summary.json")
    console.print(_figures(summary))
    console.print(_removed(summary))
    if "variant" in summary:
        console.print(_chosen(summary), highlight=False)
    low, high = summary["speedup_interval"]
    console.print(
        f"{summary['speedup']:.2f} times as fast ({low:.2f} to {high:.2f}), "
        f"{_of_rewrites(summary)}{_kept(summary)}.",
        style="bold",
        highlight=False,
    )
    asked = summary["asked"].get("speedup")
    machine = summary.get("planned_for")
    if machine is not None:
        console.print(
            f"That is on this machine. The plan was made for {machine['name']}, where the "
            f"latency table promises {machine['predicted_speedup']:.2f}: measure the artifact "
            "there, with `xprune-edge bench`.",
            style="yellow",
            markup=False,
            highlight=False,
        )
    elif asked is not None and summary["speedup"] < asked:
        console.print(
            f"Asked for {asked:.2f}: the plan delivered it when it was timed, this measurement "
            "did not. Measure again while the machine is calm, or ask for a little more.",
            style="yellow",
        )
    artifact = folder / "artifact"
    console.print(
        f"Artifact: {artifact}\nReport:   {artifact / 'report.html'}", highlight=False
    )


def _chosen(summary: Any) -> str:
    """Return which size and precision were chosen, and of how many."""
    height, width = summary["variant"]["size"]
    return (
        f"Input {height}x{width} in {summary['variant']['precision']}, chosen of "
        f"{len(summary['variants'])} sizes and precisions (variants.json says why)."
    )


def _of_rewrites(summary: Any) -> str:
    """Return how much of the speed costs no accuracy; nothing for a run without rewrites."""
    if not summary.get("rewrites"):
        return ""
    return (
        f"of which {summary['speedup_rewrites']:.2f} from rewrites that change no detection, "
    )


def _kept(summary: Any) -> str:
    key, name = figures_of(summary)[0]
    before, after = summary["before"][key], summary["after"][key]
    if before <= 0:
        return f"no {name} to keep: the unpruned model finds nothing on the test pictures"
    return f"{after / before:.1%} of the {name} kept"


def _figures(summary: Any) -> Table:
    table = Table(title=None, box=None, pad_edge=False)
    table.add_column("")
    for side in ("before", "after"):
        table.add_column(side, justify="right")
    before, after = summary["before"], summary["after"]
    rows = [
        *(
            (name, f"{before[key]:.4f}", f"{after[key]:.4f}")
            for key, name in figures_of(summary)
        ),
        *(
            (
                f"latency {name}, ms",
                _ms(before["latency_s"][name]),
                _ms(after["latency_s"][name]),
            )
            for name in ("p50", "p90", "p99")
        ),
        ("parameters", f"{before['parameters']:,}", f"{after['parameters']:,}"),
        ("size, MB", f"{before['size_bytes'] / 1e6:.2f}", f"{after['size_bytes'] / 1e6:.2f}"),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _removed(summary: Any) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("removed layer", "type", "by", "why"):
        table.add_column(name, overflow="fold")
    for choice in summary["removed"]:
        row = (choice["layer"], choice["type"], choice["substitute"], choice["reason"])
        table.add_row(*(Text(value) for value in row))
    return table


def _ms(time_s: float | None) -> str:
    return "-" if time_s is None else f"{time_s * 1000:.2f}"
