"""Time copies of one network on this machine, node by node: what a latency table is made from.

The first graph is the network; in the others some layers are replaced, and only their nodes
are timed: a node is so short that a busy machine seldom disturbs it, and the nodes that a copy
shares with the network tell how much slower the machine has become since. What ships is timed
as a whole, in turn with the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from runtime_bench.json_fields import JsonFields
from runtime_bench.runtime.profile import node_times
from runtime_bench.runtime.session import Session, open_session
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.compare import time_in_turn

FORMAT = "xprune-edge timings"
VERSION = 1
# What a graph is: the network with a raw output, a copy of it with substitutes, or the network
# as it ships, without and with rewrites.
NETWORK, SUBSTITUTES, SHIPPED, REWRITTEN = "network", "substitutes", "shipped", "rewritten"
ROLES = (NETWORK, SUBSTITUTES, SHIPPED, REWRITTEN)
# Enough that the median of a node of 20 µs repeats within a microsecond or two.
RUNS = 60
# A slow device makes fewer runs of a graph than asked: no more than this many seconds of them,
# for the whole graph as for its nodes.
MOST_S = 4.0
LEAST_RUNS = 5
MOST_GRAPHS = 10_000
MOST_NODES = 1_000_000
LONGEST_S = 1e6

Image = npt.NDArray[np.float32]
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class TimedModel:
    """Which network is timed: times hold for no other one.

    Attributes:
        name: The name of the model.
        weights_sha256: The checksum of its weights; None where they are random.
        imgsz: Input (height, width) in pixels.
    """

    name: str
    weights_sha256: str | None
    imgsz: tuple[int, int]


@dataclass(frozen=True)
class GraphFacts:
    """What a graph to be timed is.

    Attributes:
        role: One of `ROLES`.
        replaced: The layers that are replaced in it, each with its substitute's name.
    """

    role: str
    replaced: Mapping[str, str]


@dataclass(frozen=True)
class GraphTime:
    """The times of one graph.

    Attributes:
        facts: What the graph is.
        latency_s: Median seconds of one run; None for a copy with substitutes.
        nodes_s: Seconds of every node by its name in the file, as profiled: their sum is more
            than a run's, since profiling costs time.
    """

    facts: GraphFacts
    latency_s: float | None
    nodes_s: Mapping[str, float]


@dataclass(frozen=True)
class Timings:
    """All graphs of a network, timed on one machine.

    Attributes:
        model: The network.
        graphs: The network first.
        threads: Threads inside one operation; None for all that could be used.
        machine: What `describe_machine` says of it.
    """

    model: TimedModel
    graphs: tuple[GraphTime, ...]
    threads: int | None
    machine: Mapping[str, object]

    @property
    def network_s(self) -> float:
        """The latency of the network."""
        network_s = self.graphs[0].latency_s
        assert network_s is not None
        return network_s


def time_graphs(
    graphs: Iterable[tuple[GraphFacts, bytes]],
    images: Sequence[Image],
    settings: SessionSettings,
    *,
    runs: int = RUNS,
    known_s: float | None = None,
) -> Iterator[GraphTime]:
    """Yield the times of each graph as soon as they are taken.

    Args:
        graphs: What each one is, and its ONNX; the network first.
        images: Inputs (1, 3, H, W) to run on, in turn.
        settings: How onnxruntime runs.
        runs: Runs of each graph; fewer where they would take more than a few seconds.
        known_s: The network's latency where it was timed before: it is not yielded then.

    Raises:
        EdgeError: If the first graph is not the network, or a graph does not run.
    """
    waiting = iter(graphs)
    facts, content = next(waiting)
    if facts.role != NETWORK:
        raise EdgeError(f"the first graph is of {facts.role}, not the network itself")
    network = open_session(content, settings)
    network_s = known_s
    if network_s is None:
        # Of the same one twice, the second set of times counts.
        _, times_s = _in_turn(network, network, images, runs)
        network_s = float(np.median(times_s))
    profiled = max(LEAST_RUNS, min(runs, int(MOST_S / network_s)))
    if known_s is None:
        nodes = node_times(content, images, settings, runs=profiled)
        yield GraphTime(facts, network_s, nodes.by_source)
    for facts, content in waiting:
        latency_s = None
        if facts.role != SUBSTITUTES:
            base_s, times_s = _in_turn(network, open_session(content, settings), images, runs)
            latency_s = network_s * float(np.median(times_s) / np.median(base_s))
        nodes = node_times(content, images, settings, runs=profiled)
        yield GraphTime(facts, latency_s, nodes.by_source)


def _in_turn(
    first: Session, second: Session, images: Sequence[Image], runs: int
) -> tuple[tuple[float, ...], ...]:
    """Return the seconds of single runs of both, in turn."""
    inputs = [cycle(images), cycle(images)]
    return time_in_turn(
        (lambda: first.run(next(inputs[0])), lambda: second.run(next(inputs[1]))),
        min_rounds=max(2, runs),
        min_time_s=0.0,
        max_time_s=2 * MOST_S,
        seed=0,
        warmup_runs=2,
    )


def write_timings(path: Path, timings: Timings) -> None:
    """Write the timings as JSON."""
    graphs = [
        {
            "role": graph.facts.role,
            "replaced": dict(graph.facts.replaced),
            "latency_s": graph.latency_s,
            "nodes_s": dict(graph.nodes_s),
        }
        for graph in timings.graphs
    ]
    content = {
        "format": FORMAT,
        "version": VERSION,
        "model": asdict(timings.model),
        "threads": timings.threads,
        "machine": dict(timings.machine),
        "graphs": graphs,
    }
    write_json(path, content)


def read_timings(path: Path) -> Timings:
    """Read timings, perhaps from another machine; nothing in them is taken for granted.

    Raises:
        EdgeError: If the file is missing, malformed, or of another version.
    """
    fields = JsonFields(read_json(path), source=str(path))
    fields.text("format", choices=(FORMAT,))
    fields.integer("version", least=VERSION, most=VERSION)
    model = read_model(fields.child("model"))
    threads = fields.take("threads")
    if threads is not None and (type(threads) is not int or not 1 <= threads <= 1024):
        raise fields.error("threads", "must be null or a whole number from 1 to 1024")
    machine = fields.mapping("machine")
    graphs = read_graphs(fields, _graph_time, facts=lambda graph: graph.facts)
    return Timings(model, graphs, threads, machine)


def read_graphs(
    fields: JsonFields,
    read: Callable[[JsonFields], Entry],
    *,
    facts: Callable[[Entry], GraphFacts],
) -> tuple[Entry, ...]:
    """Return the graphs that end a file, the network first and once.

    Args:
        fields: Of the file; nothing but "graphs" is left in it.
        read: Reads one of them.
        facts: Tells what a graph that was read shows.
    """
    entries = fields.take("graphs")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_GRAPHS:
        raise fields.error("graphs", f"must be a list of 1 to {MOST_GRAPHS} graphs")
    fields.finish()
    graphs = tuple(
        read(JsonFields(entry, source=fields.source, where=f"graphs[{index}]"))
        for index, entry in enumerate(entries)
    )
    roles = [facts(graph).role for graph in graphs]
    if roles[0] != NETWORK or roles.count(NETWORK) != 1:
        raise fields.error("graphs", "must begin with the network, and hold it once")
    return graphs


def read_model(fields: JsonFields) -> TimedModel:
    """Return which network a file of timings, or a folder to be timed, is of."""
    name = fields.text("name")
    sha256 = fields.take("weights_sha256")
    if sha256 is not None and not (isinstance(sha256, str) and 0 < len(sha256) <= 128):
        raise fields.error("weights_sha256", "must be null or a checksum")
    height, width = fields.integers("imgsz", count=2, least=1, most=65_536)
    fields.finish()
    return TimedModel(name, sha256, (height, width))


def read_facts(fields: JsonFields) -> GraphFacts:
    """Return what a graph is; other keys are left to the caller."""
    role = fields.text("role", choices=ROLES)
    replaced = fields.mapping("replaced")
    for layer, substitute in replaced.items():
        if not isinstance(substitute, str) or max(len(layer), len(substitute)) > 500:
            raise fields.error("replaced", "must name a substitute for each layer")
    return GraphFacts(role, {layer: str(name) for layer, name in replaced.items()})


def _graph_time(fields: JsonFields) -> GraphTime:
    facts = read_facts(fields)
    latency_s = fields.take("latency_s")
    if latency_s is not None or facts.role != SUBSTITUTES:
        latency_s = fields.checked_number("latency_s", latency_s, least=1e-9, most=LONGEST_S)
    nodes = fields.child("nodes_s")
    names = nodes.left()
    if len(names) > MOST_NODES:
        raise fields.error("nodes_s", f"must have at most {MOST_NODES} nodes")
    nodes_s = {name: nodes.number(name, least=0.0, most=LONGEST_S) for name in names}
    fields.finish()
    return GraphTime(facts, latency_s, nodes_s)
