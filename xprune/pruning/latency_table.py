"""What each layer costs on a machine, and what its substitutes would: measured, not counted.

A layer's time is the sum of its nodes' times in onnxruntime's profile of the exported network,
so what fuses and which layouts meet is as it will be. Substitutes are timed the same way, in
copies of the network where as many layers as possible are replaced at once: for most of them
the time depends on their shape alone, and each shape needs to be seen once. What a replacement
changes close around it (a batch normalisation that is left without its convolution, an
activation that is fused no more) counts for the substitute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import nn

from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from runtime_bench.timing.timings import (
    NETWORK,
    REWRITTEN,
    SHIPPED,
    SUBSTITUTES,
    GraphFacts,
    GraphTime,
    Timings,
)
from xprune.layers.candidates import Candidate, Shape, nested
from xprune.layers.substitutes import Replacement, applicable, replacement
from xprune.layers.surgery import apply_plan

FORMAT = "xprune-edge latency table"
VERSION = 2
# Nodes that a copy shares with the network tell how fast the machine is, if they take this
# share of the time.
LEAST_SHARED = 0.05
# What is around a layer is looked at if it takes no more than this many times the layer's time:
# more of it would bring more noise than it tells.
CLOSE = 1.5
# A substitute's time depends on these alone: how it is built, and the shapes of all its calls.
# Of an activation's it depends on the place: whether it fuses with what is before it.
Kind = tuple[Replacement, tuple[Shape, ...], tuple[Shape, ...]]


@dataclass(frozen=True)
class LatencyTable:
    """Seconds for one picture, on one machine.

    Attributes:
        base_s: The whole network's latency, its output raw.
        layers: Seconds that each candidate takes, its children included.
        substitutes: For each candidate the seconds that each of its substitutes takes.
        settings: What the times hold for: weights, size, threads, machine, versions.
        shipped_s: The network's latency as it ships, mostly with NMS; None if it was not timed.
        rewritten_s: The same with rewrites of the graph that change no detection.
    """

    base_s: float
    layers: Mapping[str, float]
    substitutes: Mapping[str, Mapping[str, float]]
    settings: Mapping[str, object]
    shipped_s: float | None = None
    rewritten_s: float | None = None

    def saved_s(self, layer: str, substitute: str) -> float:
        """Return the seconds won when the substitute takes over; may be negative."""
        return self.layers[layer] - self.substitutes[layer][substitute]


def graphs_to_time(
    network: nn.Module,
    candidates: Sequence[Candidate],
    *,
    graph: bytes,
    export: Callable[[nn.Module], bytes],
) -> Iterator[tuple[GraphFacts, bytes]]:
    """Yield the network and copies of it that show every substitute of every shape.

    Args:
        network: The unpruned network.
        candidates: Its layers.
        graph: The network's own ONNX, from `export`.
        export: Turns a network into ONNX whose nodes are named after its layers.
    """
    yield GraphFacts(NETWORK, {}), graph
    for group in groups(candidates):
        replaced = {wanted.layer: wanted.substitute for wanted in group}
        yield GraphFacts(SUBSTITUTES, replaced), export(apply_plan(network, group))


def table_from(
    timings: Timings, candidates: Sequence[Candidate], settings: Mapping[str, object]
) -> LatencyTable:
    """Return what the timed graphs say of every layer and of each of its substitutes.

    Raises:
        EdgeError: If a substitute of some layer was not timed.
    """
    network, *others = timings.graphs
    # Nodes and what is between them: all of the latency is shared out among the nodes.
    factor = timings.network_s / max(sum(network.nodes_s.values()), 1e-9)
    times = _times(network.nodes_s, factor)
    by_kind: dict[Kind, float] = {}
    known = {candidate.name: candidate for candidate in candidates}
    for graph in others:
        cut = _times(graph.nodes_s, factor * _drift(network, graph))
        for layer, substitute in graph.facts.replaced.items():
            if layer in known:
                kind = _kind(known[layer], substitute)
                by_kind[kind] = _time_of(layer, times, cut, graph.facts.replaced)
    whole = {graph.facts.role: graph.latency_s for graph in timings.graphs}
    return LatencyTable(
        base_s=timings.network_s,
        layers={name: time_inside(times, name) for name in known},
        substitutes={name: _substitutes(c, by_kind) for name, c in known.items()},
        settings=settings,
        shipped_s=whole.get(SHIPPED),
        rewritten_s=whole.get(REWRITTEN),
    )


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
    if document.get("version") not in (1, VERSION):
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
            shipped_s=_seconds(document.get("shipped_s")),
            rewritten_s=_seconds(document.get("rewritten_s")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EdgeError(f"{path} lacks or misspells {error}; remove it") from error
    for candidate in candidates:
        wanted = {"zero", *applicable(candidate)}
        known = table.substitutes.get(candidate.name, {})
        if candidate.name not in table.layers or wanted - set(known):
            raise EdgeError(f"{path} lacks times of '{candidate.name}'; remove it")
    return table


def groups(candidates: Sequence[Candidate]) -> list[list[Replacement]]:
    """Return replacements that show every kind of substitute, in few networks."""
    waiting: dict[Kind, list[Replacement]] = {}
    for candidate in candidates:
        for name in _timed(candidate):
            kind = _kind(candidate, name)
            waiting.setdefault(kind, []).append(replacement(candidate, name))
    found: list[list[Replacement]] = []
    while waiting:
        group: list[Replacement] = []
        # Those with few places first: the others fit in around them.
        for kind in sorted(waiting, key=lambda kind: len(waiting[kind])):
            free = (wanted for wanted in waiting[kind] if not _meets(wanted, group))
            place = next(free, None)
            if place is not None:
                group.append(place)
                del waiting[kind]
        found.append(group)
    return found


def _meets(wanted: Replacement, group: Iterable[Replacement]) -> bool:
    """Whether a layer is one of the group's, or contains one, or is inside one."""
    return any(nested(wanted.layer, other.layer) for other in group)


def time_inside(times: Mapping[str, float], layer: str) -> float:
    """Return the seconds of a layer, from seconds by node named "<layer>/<operator>"."""
    return sum(
        time_s
        for source, time_s in times.items()
        if source.startswith((f"{layer}.", f"{layer}/"))
    )


def _timed(candidate: Candidate) -> list[str]:
    """Return the substitutes that take time: of a block's bypass nothing is left in a graph.

    Around a plain convolution a normalisation and an activation are left.
    """
    names = [name for name in applicable(candidate) if name != "identity"]
    bypassed = "identity" in applicable(candidate) and candidate.convolution
    return ["identity", *names] if bypassed else names


def _kind(candidate: Candidate, substitute: str) -> Kind:
    place = candidate.name if candidate.activation else ""
    built = replace(replacement(candidate, substitute), layer=place)
    return built, candidate.input_shapes, candidate.output_shapes


def _times(nodes_s: Mapping[str, float], factor: float) -> dict[str, float]:
    return {source: time_s * factor for source, time_s in nodes_s.items()}


def _drift(network: GraphTime, cut: GraphTime) -> float:
    """Return how much faster the machine was for the network than for a copy of it.

    Both hold nodes that no replacement is near to; where they are too few to tell, it is 1.
    """
    near = {layer.rpartition(".")[0] or layer for layer in cut.facts.replaced}
    prefixes = tuple(f"{name}{end}" for name in near for end in "./")
    shared = [
        source
        for source in network.nodes_s
        if source in cut.nodes_s and not source.startswith(prefixes)
    ]
    before_s = sum(network.nodes_s[source] for source in shared)
    after_s = sum(cut.nodes_s[source] for source in shared)
    if after_s <= 0 or before_s < LEAST_SHARED * sum(network.nodes_s.values()):
        return 1.0
    return before_s / after_s


def _time_of(
    layer: str, before: Mapping[str, float], after: Mapping[str, float], replaced: Iterable[str]
) -> float:
    """Return the seconds that stand in a layer's place, with what changed close around it."""
    around = layer.rpartition(".")[0]
    own_s, around_s = time_inside(before, layer), time_inside(before, around)
    others = [other for other in replaced if other != layer and nested(other, around)]
    if not around or others or around_s > CLOSE * own_s:
        return time_inside(after, layer)
    return max(0.0, time_inside(after, around) - (around_s - own_s))


def _substitutes(candidate: Candidate, by_kind: Mapping[Kind, float]) -> dict[str, float]:
    times = dict.fromkeys(("zero", *applicable(candidate)), 0.0)
    for name in _timed(candidate):
        kind = _kind(candidate, name)
        if kind not in by_kind:
            raise EdgeError(
                f"the timings lack '{name}' in place of '{candidate.name}'; make the graphs "
                "again with this version and time them"
            )
        times[name] = by_kind[kind]
    return times


def _seconds(value: object) -> float | None:
    return None if value is None else float(str(value))
