"""Every layer and substitute gets the time that it takes, from few graphs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from runtime_bench.errors import EdgeError
from runtime_bench.timing.timings import GraphFacts, GraphTime, TimedModel, Timings
from tests.reference.toy_networks import ConvBlock, noise, settled, toy
from xprune.layers.candidates import Candidate, find_candidates
from xprune.layers.substitutes import applicable, replacement
from xprune.layers.surgery import apply_plan
from xprune.pruning import latency_table
from xprune.pruning.latency_table import (
    LatencyTable,
    graphs_to_time,
    read_latency_table,
    table_from,
    time_inside,
    write_latency_table,
)


def toy_with_a_twin() -> nn.Module:
    """The toy, and a layer that the tower's first call looks like, though it runs only once."""
    network = toy()
    network.down = nn.Sequential(network.down, ConvBlock(8, 8))
    return settled(network, seed=1).to(torch.float64)


def times_of(network: nn.Module) -> dict[str, float]:
    """A made-up time for each node: outputs times weights, added over all calls, in µs."""
    times: dict[str, float] = {}

    def add(name: str, module: nn.Module, output: torch.Tensor) -> None:
        weights = sum(weight.numel() for weight in module.parameters(recurse=False))
        node = f"{name}/{type(module).__name__}"
        times[node] = times.get(node, 0.0) + 1e-6 * weights * output[0].numel()

    handles = [
        module.register_forward_hook(
            lambda module, _, output, name=name: add(name, module, output)
        )
        for name, module in network.named_modules()
        if name and list(module.parameters(recurse=False))
    ]
    network(noise(1))
    for handle in handles:
        handle.remove()
    return times


# A made-up profile takes longer than the run itself, as a real one does.
PROFILING = 1.25


def timed(network: nn.Module, facts: GraphFacts) -> GraphTime:
    """What a machine with those made-up times would tell of a graph."""
    times = times_of(network)
    profiled = {node: PROFILING * time_s for node, time_s in times.items()}
    return GraphTime(facts, sum(times.values()), profiled)


class Exporter:
    """Stands in for the export: keeps the networks instead of turning them into ONNX."""

    def __init__(self) -> None:
        self.networks: list[nn.Module] = []

    def export(self, network: nn.Module) -> bytes:
        self.networks.append(network)
        return str(len(self.networks) - 1).encode()


@pytest.fixture
def network() -> nn.Module:
    """The toy with a twin."""
    return toy_with_a_twin()


@pytest.fixture
def found(network) -> tuple[Candidate, ...]:
    """Its candidates."""
    return find_candidates(network, lambda: network(noise(1)))


@pytest.fixture
def facts(network: nn.Module, found: tuple[Candidate, ...]) -> list[GraphFacts]:
    """What each of the graphs is."""
    exporter = Exporter()
    graphs = graphs_to_time(
        network, found, graph=exporter.export(network), export=exporter.export
    )
    return [told for told, _ in graphs]


@pytest.fixture
def timings(network: nn.Module, found: tuple[Candidate, ...]) -> Timings:
    """What the made-up machine tells of all graphs."""
    exporter = Exporter()
    graphs = graphs_to_time(
        network, found, graph=exporter.export(network), export=exporter.export
    )
    times = tuple(timed(exporter.networks[int(content)], told) for told, content in graphs)
    return Timings(TimedModel("toy", None, (32, 40)), times, 1, {})


@pytest.fixture
def table(timings: Timings, found: tuple[Candidate, ...]) -> LatencyTable:
    """The table that these times give."""
    return table_from(timings, found, {"threads": 1})


def inside(times: Mapping[str, float], layer: str) -> float:
    """The time of a layer's own nodes and of those in its children, by splitting names."""
    path = layer.split(".")
    return sum(
        t for node, t in times.items() if node.split("/")[0].split(".")[: len(path)] == path
    )


def test_layers_share_the_latency_as_the_profile_does(table, network, found):
    """All nodes add up to the whole latency, measured without the profiler."""
    times = times_of(network)

    assert table.base_s == pytest.approx(sum(times.values()))
    for candidate in found:
        assert table.layers[candidate.name] == pytest.approx(inside(times, candidate.name))


def test_substitutes_take_what_they_take_alone(table, network, found):
    """As if each one had been put in, exported and timed by itself; bypassing takes nothing."""
    for candidate in found:
        times = table.substitutes[candidate.name]
        assert set(times) == {"zero", *applicable(candidate)}
        assert times["zero"] == 0
        assert times.get("identity", 0) == pytest.approx(0, abs=1e-12)
        for name in set(times) - {"zero", "identity"}:
            alone = times_of(apply_plan(network, [replacement(candidate, name)]))
            assert times[name] == pytest.approx(inside(alone, candidate.name))
            saved_s = table.layers[candidate.name] - times[name]
            assert table.saved_s(candidate.name, name) == pytest.approx(saved_s)


def test_what_is_built_alike_is_timed_once_and_no_graph_nests(facts, found):
    """Few graphs for many substitutes; the network itself comes first."""
    kinds = {
        (
            str({**replacement(candidate, name).to_json(), "layer": ""}),
            candidate.name if name == "clip" else "",
            candidate.input_shapes,
            candidate.output_shapes,
        )
        for candidate in found
        for name in applicable(candidate)
        if name != "identity" or candidate.convolution
    }
    replaced = [list(told.replaced) for told in facts[1:]]

    assert facts[0] == GraphFacts("network", {})
    assert sum(map(len, replaced)) == len(kinds) > len(replaced)
    for layers in replaced:
        assert not any(a != b and a.startswith(f"{b}.") for a in layers for b in layers)


def test_a_substitute_that_was_not_timed_is_an_error(timings, found):
    """Timings of an older version may lack one; it says which, and what to do."""
    network, *others = timings.graphs
    fewer = tuple(
        replace(
            graph,
            facts=GraphFacts(
                "substitutes",
                {layer: n for layer, n in graph.facts.replaced.items() if n != "affine"},
            ),
        )
        for graph in others
    )

    with pytest.raises(EdgeError, match=r"lack 'affine' in place of .*make the graphs again"):
        table_from(replace(timings, graphs=(network, *fewer)), found, {})


def test_a_machine_that_slows_down_is_seen_through(timings, table, found):
    """Copies that ran at half the speed tell the same, by the nodes that they share."""
    network, *others = timings.graphs
    slow = tuple(
        replace(graph, nodes_s={node: 2 * time_s for node, time_s in graph.nodes_s.items()})
        for graph in others
    )

    slowed = table_from(replace(timings, graphs=(network, *slow)), found, {"threads": 1})

    for layer, times in table.substitutes.items():
        assert slowed.substitutes[layer] == pytest.approx(times, abs=1e-12)


def test_what_changes_close_around_counts(timings, found):
    """A normalisation that a bypassed convolution leaves behind is the bypass's time."""
    left_behind = replace(
        timings.graphs[1], facts=GraphFacts("substitutes", {"stem.conv": "x"})
    )
    before = timings.graphs[0].nodes_s
    after = {node: time_s for node, time_s in before.items() if not node.startswith("stem.")}
    cut = replace(left_behind, nodes_s={**after, "stem.bn/Mul": 0.125})

    took_s = latency_table._time_of("stem.conv", before, cut.nodes_s, ["stem.conv"])
    with_a_neighbour_s = latency_table._time_of(
        "stem.conv", before, cut.nodes_s, ["stem.conv", "stem.bn"]
    )

    normalised_s = inside(before, "stem") - inside(before, "stem.conv")
    assert normalised_s > 0
    assert took_s == pytest.approx(0.125 - normalised_s)
    assert with_a_neighbour_s == 0


def test_what_ships_is_told_where_it_was_timed(timings, found):
    """Without NMS and rewrites nothing is known of them."""
    shipped = tuple(
        GraphTime(GraphFacts(role, {}), time_s, {})
        for role, time_s in (("shipped", 3.0), ("rewritten", 2.5))
    )

    plain = table_from(timings, found, {})
    whole = table_from(replace(timings, graphs=(*timings.graphs, *shipped)), found, {})

    assert (plain.shipped_s, plain.rewritten_s) == (None, None)
    assert (whole.shipped_s, whole.rewritten_s) == (3.0, 2.5)
    assert whole.layers == plain.layers


def test_a_name_is_not_part_of_another():
    """The layer model.1 has nothing to do with model.10."""
    times = {"model.1/Conv": 1.0, "model.1.conv/Conv": 2.0, "model.10/Conv": 4.0}

    assert time_inside(times, "model.1") == 3.0
    assert time_inside(times, "model") == 7.0


@pytest.fixture
def path(tmp_path: Path, table: LatencyTable) -> Path:
    """Where that table is written."""
    written = tmp_path / "latency.json"
    write_latency_table(written, table)
    return written


def test_a_table_survives_its_file(path, table, found):
    """To the last bit."""
    assert read_latency_table(path, found) == table


DAMAGE = {
    "another file": lambda d: d.update(format="xprune-edge plan"),
    "newer": lambda d: d.update(version=3),
    "no base": lambda d: d.pop("base_s"),
    "layers as list": lambda d: d.update(layers=[1.0]),
    "time as text": lambda d: d["layers"].update(stem="fast"),
    "no settings": lambda d: d.pop("settings"),
    "another network": lambda d: d["layers"].pop("tower"),
    "other substitutes": lambda d: d["substitutes"]["tower"].pop("linear"),
    "no substitutes": lambda d: d["substitutes"].pop("tower"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_foreign_or_damaged_table_is_refused(path, found, damage):
    """In one line that names the file and what to do."""
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))

    with pytest.raises(EdgeError, match=r"latency\.json .*remove it") as caught:
        read_latency_table(path, found)

    assert "\n" not in str(caught.value)


def test_a_table_of_the_first_version_still_loads(path, found, table):
    """It does not know what ships; all else is the same."""
    document = json.loads(path.read_text())
    del document["shipped_s"], document["rewritten_s"]
    document["version"] = 1
    path.write_text(json.dumps(document))

    assert read_latency_table(path, found) == table
