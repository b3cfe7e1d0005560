"""The latency table of a run: timed on this machine, or made from what another one timed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from exporters.precision.lower import FLOAT32
from runtime_bench.errors import EdgeError
from runtime_bench.machine.description import describe_machine
from runtime_bench.timing.timing_folder import write_folder
from runtime_bench.timing.timings import (
    SHIPPED,
    GraphFacts,
    TimedModel,
    Timings,
    read_timings,
    time_graphs,
)
from xprune.layers.candidates import Candidate
from xprune.pruning.latency_table import (
    LatencyTable,
    graphs_to_time,
    read_latency_table,
    table_from,
    write_latency_table,
)
from xprune.stages.rewrites import kept_rewrites, raw_as_timed, shipped_graph
from xprune.stages.workbench import Workbench

LATENCY_FILE = "latency.json"
# Real pictures that go with the graphs: what NMS costs depends on what is to be seen.
PICTURES = 4


def latency_table(bench: Workbench, candidates: tuple[Candidate, ...]) -> LatencyTable:
    """Return the run's table of this machine, measured now unless it holds already.

    Args:
        bench: Of the run.
        candidates: The run's layers, as they were scored.
    """
    path, precision = bench.run.file(LATENCY_FILE), bench.run.config.precision
    settings = {
        **_settings(bench, bench.run.config.threads, describe_machine()),
        "rewrites": list(kept_rewrites(bench)),
        **({} if precision == FLOAT32 else {"precision": precision}),
        "widths": {c.name: _plain(c.widths) for c in candidates if c.widths},
    }
    if path.exists():
        table = read_latency_table(path, candidates)
        if table.settings == settings:
            return table
    told = (
        (facts, raw_as_timed(bench, content))
        for facts, content in _told(bench, candidates, "Timing")
    )
    graphs = tuple(time_graphs(told, bench.timed_images, bench.session))
    timings = Timings(_model(bench), graphs, bench.run.config.threads, {})
    table = table_from(timings, candidates, settings)
    write_latency_table(path, table)
    return table


def table_of_other_machine(bench: Workbench, path: Path) -> tuple[LatencyTable, str]:
    """Return the table that timings from another machine give, and that machine's name.

    Raises:
        EdgeError: If they are of another network or size, or lack a layer's times.
    """
    timings = read_timings(path)
    here, there = _model(bench), timings.model
    if there.imgsz != here.imgsz:
        height, width = there.imgsz
        raise EdgeError(
            f"{path} was timed at {height}x{width}, and this run is of "
            f"{here.imgsz[0]}x{here.imgsz[1]}; use --imgsz {height}x{width}, or time it again"
        )
    if there.weights_sha256 != here.weights_sha256:
        raise EdgeError(
            f"{path} was timed with other weights ('{there.name}') than those of this run "
            f"('{here.name}'); make the graphs of this model and time them"
        )
    settings = _settings(bench, timings.threads, timings.machine)
    # The graphs were made before any layer was scored: the same share of each chain, as many
    # multiply-adds as in the widths that the scores are of.
    table = table_from(timings, bench.candidates, settings)
    write_latency_table(bench.run.file(LATENCY_FILE), table)
    return table, machine_name(timings)


def machine_name(timings: Timings) -> str:
    """Return what a machine is called: the board, else the processor, and the threads."""
    known = timings.machine
    name = str(
        known.get("device") or known.get("cpu") or known.get("architecture") or "unknown"
    )
    threads = timings.threads or known.get("cores_available")
    return f"{name.strip()[:80]}, {threads} thread{'' if threads == 1 else 's'}"


def write_graphs(bench: Workbench, folder: Path) -> None:
    """Write all that another machine needs to time this model, whole or not at all."""
    images = [bench.grey_image()]
    if bench.run.config.data:
        images = bench.timed_images[:PICTURES]
    graphs = itertools.chain(_told(bench, bench.candidates, "Exporting"), _shipped(bench))
    write_folder(folder, _model(bench), graphs, images)


def _told(
    bench: Workbench, candidates: tuple[Candidate, ...], doing: str
) -> Iterator[tuple[GraphFacts, bytes]]:
    """Yield the graphs to be timed, and say what is being done with each."""
    graphs = graphs_to_time(
        bench.detector.network,
        candidates,
        graph=bench.unpruned_graph,
        export=bench.raw_graph,
    )
    for facts, content in graphs:
        count = len(facts.replaced)
        bench.say(f"{doing} {f'{count} substitutes' if count else 'the network'}")
        yield facts, content


def _shipped(bench: Workbench) -> Iterator[tuple[GraphFacts, bytes]]:
    """Yield the unpruned network as it ships, on what the speed-up is counted."""
    yield GraphFacts(SHIPPED, {}), shipped_graph(bench, bench.unpruned_graph, precision=FLOAT32)


def _plain(widths: Mapping[str, tuple[int, ...]]) -> dict[str, list[int]]:
    return {level: list(channels) for level, channels in widths.items()}


def _model(bench: Workbench) -> TimedModel:
    return TimedModel(bench.detector.name, bench.detector.weights_sha256, bench.size)


def _settings(bench: Workbench, threads: int | None, machine: object) -> dict[str, object]:
    known = machine if isinstance(machine, dict) else {}
    return {
        "weights_sha256": bench.detector.weights_sha256,
        "imgsz": list(bench.size),
        "threads": threads,
        **{name: known.get(name) for name in ("cpu", "cores_available", "onnxruntime")},
    }
