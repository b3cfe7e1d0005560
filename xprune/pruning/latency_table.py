"""What each layer costs on this machine, and what its substitutes would: measured, not counted.

A layer's time is the sum of its nodes' times in onnxruntime's profile of the exported network,
so what fuses and which layouts meet is as it will be. Substitutes are timed the same way, in
copies of the network where as many layers as possible are replaced at once: their time depends
on their shape alone, and each shape needs to be seen once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from runtime_bench.latency import measure_latency
from runtime_bench.profile import node_times
from runtime_bench.session import open_session
from runtime_bench.settings import SessionSettings
from xprune.layers.candidates import Candidate, Shape, nested
from xprune.layers.substitutes import Replacement, applicable, replacement
from xprune.layers.surgery import apply_plan

FORMAT = "xprune-edge latency table"
VERSION = 1
# Enough that the median of a node of 20 µs repeats within a microsecond or two.
PROFILED_RUNS = 60

Image = NDArray[np.float32]
# A substitute's time depends on these alone: its name, and the shapes of all its calls.
Shapes = tuple[str, tuple[Shape, ...], tuple[Shape, ...]]


@dataclass(frozen=True)
class LatencyTable:
    """Seconds for one picture, on one machine.

    Attributes:
        base_s: The whole network's latency.
        layers: Seconds that each candidate takes, its children included.
        substitutes: For each candidate the seconds that each of its substitutes takes.
        settings: What the times hold for: model, size, threads, machine, versions.
    """

    base_s: float
    layers: Mapping[str, float]
    substitutes: Mapping[str, Mapping[str, float]]
    settings: Mapping[str, object]

    def saved_s(self, layer: str, substitute: str) -> float:
        """Return the seconds won when the substitute takes over; may be negative."""
        return self.layers[layer] - self.substitutes[layer][substitute]


def measure_latency_table(
    network: nn.Module,
    candidates: Sequence[Candidate],
    *,
    graph: bytes,
    export: Callable[[nn.Module], bytes],
    images: Sequence[Image],
    session: SessionSettings,
    settings: Mapping[str, object],
    on_graph: Callable[[str], object] = lambda label: None,
) -> LatencyTable:
    """Time every candidate and its substitutes in the exported network.

    Args:
        network: The unpruned network.
        candidates: Its layers.
        graph: The network's own ONNX, from `export`.
        export: Turns a network into ONNX whose nodes are named after its layers.
        images: Inputs (1, 3, H, W) to run.
        session: How onnxruntime runs.
        settings: Kept with the table.
        on_graph: Called with a label before each graph that is exported and timed.
    """
    on_graph("the network")
    base_s = _median_latency_s(graph, images[0], session)
    times = _times_by_node(graph, images, session, base_s)
    by_shape: dict[Shapes, float] = {}
    for group in _groups(candidates):
        on_graph(f"{len(group)} substitutes")
        cut = export(apply_plan(network, list(group.values())))
        cut_times = _times_by_node(cut, images, session, None)
        for shapes, wanted in group.items():
            by_shape[shapes] = time_inside(cut_times, wanted.layer)
    layers = {candidate.name: time_inside(times, candidate.name) for candidate in candidates}
    substitutes = {
        c.name: {n: by_shape.get(_shapes(c, n), 0.0) for n in ("zero", *applicable(c))}
        for c in candidates
    }
    return LatencyTable(base_s, layers, substitutes, settings)


def write_latency_table(path: Path, table: LatencyTable) -> None:
    """Write the table as JSON."""
    write_json(path, {"format": FORMAT, "version": VERSION, **asdict(table)})


def read_latency_table(path: Path, candidates: Iterable[Candidate]) -> LatencyTable:
    """Read a table and check that it covers `candidates`.

    Raises:
        EdgeError: If it is missing, malformed, or of another network.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise EdgeError(f"{path} is not a latency table; remove it to measure again")
    if document.get("version") != VERSION:
        raise EdgeError(f"{path} has version {document.get('version')}; remove it")
    try:
        table = LatencyTable(
            base_s=float(document["base_s"]),
            layers={name: float(time_s) for name, time_s in document["layers"].items()},
            substitutes={
                layer: {name: float(time_s) for name, time_s in times.items()}
                for layer, times in document["substitutes"].items()
            },
            settings=dict(document["settings"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EdgeError(f"{path} lacks or misspells {error}; remove it") from error
    for candidate in candidates:
        wanted = {"zero", *applicable(candidate)}
        known = table.substitutes.get(candidate.name, {})
        if candidate.name not in table.layers or wanted - set(known):
            raise EdgeError(f"{path} lacks times of '{candidate.name}'; remove it")
    return table


def _groups(candidates: Sequence[Candidate]) -> list[dict[Shapes, Replacement]]:
    """Return replacements that see every shape of every substitute, in few networks."""
    waiting = {
        _shapes(candidate, name): replacement(candidate, name)
        for candidate in candidates
        for name in applicable(candidate)
        if name != "identity"  # nothing is left of it in a graph
    }
    groups: list[dict[Shapes, Replacement]] = []
    while waiting:
        group: dict[Shapes, Replacement] = {}
        for shapes, wanted in list(waiting.items()):
            if not any(nested(wanted.layer, other.layer) for other in group.values()):
                group[shapes] = waiting.pop(shapes)
        groups.append(group)
    return groups


def _median_latency_s(graph: bytes, image: Image, session: SessionSettings) -> float:
    runner = open_session(graph, session)
    samples = measure_latency(
        lambda: runner.run(image), warmup_runs=5, min_runs=40, min_time_s=0.5
    )
    return float(np.median(samples.timed_s))


def _shapes(candidate: Candidate, substitute: str) -> Shapes:
    return substitute, candidate.input_shapes, candidate.output_shapes


def _times_by_node(
    graph: bytes, images: Sequence[Image], session: SessionSettings, total_s: float | None
) -> dict[str, float]:
    """Return seconds by node, scaled so that they add up to `total_s`: profiling costs time."""
    times = node_times(graph, images, session, runs=PROFILED_RUNS)
    factor = 1.0 if total_s is None else total_s / times.total_s
    return {source: time_s * factor for source, time_s in times.by_source.items()}


def time_inside(times: Mapping[str, float], layer: str) -> float:
    """Return the seconds of a layer, from seconds by node named "<layer>/<operator>"."""
    return sum(
        time_s
        for source, time_s in times.items()
        if source.startswith((f"{layer}.", f"{layer}/"))
    )
