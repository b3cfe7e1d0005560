"""Every layer and substitute gets the time that it takes, from few graphs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from runtime_bench.errors import EdgeError
from runtime_bench.latency import LatencySamples
from runtime_bench.settings import SessionSettings
from tests.reference.toy_networks import ConvBlock, noise, settled, toy
from xprune.layers.candidates import Candidate, find_candidates
from xprune.layers.substitutes import applicable, replacement
from xprune.layers.surgery import apply_plan
from xprune.pruning import latency_table
from xprune.pruning.latency_table import (
    LatencyTable,
    measure_latency_table,
    read_latency_table,
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


class Clock:
    """Stands in for export and onnxruntime: keeps networks, and times them by `times_of`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.networks: list[nn.Module] = []
        self.plans: list[list[str]] = []
        monkeypatch.setattr(latency_table, "open_session", lambda graph, settings: self)
        monkeypatch.setattr(latency_table, "measure_latency", self.measure)
        monkeypatch.setattr(latency_table, "node_times", self.node_times)
        monkeypatch.setattr(latency_table, "apply_plan", self.apply_plan)

    def export(self, network: nn.Module) -> bytes:
        self.networks.append(network)
        return str(len(self.networks) - 1).encode()

    def measure(self, infer, **_: object) -> LatencySamples:
        return LatencySamples((), (0.9, 1.0, 1.1))

    def node_times(self, graph: bytes, images, settings, *, runs: int) -> SimpleNamespace:
        times = times_of(self.networks[int(graph)])
        return SimpleNamespace(by_source=times, total_s=sum(times.values()))

    def apply_plan(self, network: nn.Module, wanted) -> nn.Module:
        self.plans.append([one.layer for one in wanted])
        return apply_plan(network, wanted)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """A clock in place of onnxruntime, for the length of a test."""
    return Clock(monkeypatch)


@pytest.fixture
def network() -> nn.Module:
    """The toy with a twin."""
    return toy_with_a_twin()


@pytest.fixture
def found(network) -> tuple[Candidate, ...]:
    """Its candidates."""
    return find_candidates(network, lambda: network(noise(1)))


@pytest.fixture
def table(clock: Clock, network: nn.Module, found: tuple[Candidate, ...]) -> LatencyTable:
    """The table that the made-up clock gives."""
    return measure_latency_table(
        network,
        found,
        graph=clock.export(network),
        export=clock.export,
        images=[np.zeros((1, 3, 32, 40), np.float32)],
        session=SessionSettings(threads=1),
        settings={"threads": 1},
    )


def inside(times: Mapping[str, float], layer: str) -> float:
    """The time of a layer's own nodes and of those in its children, by splitting names."""
    path = layer.split(".")
    return sum(
        t for node, t in times.items() if node.split("/")[0].split(".")[: len(path)] == path
    )


def test_layers_share_the_latency_as_the_profile_does(table, network, found):
    """All nodes add up to the whole latency, measured without the profiler."""
    times = times_of(network)

    assert table.base_s == 1.0
    for candidate in found:
        share = inside(times, candidate.name) / sum(times.values())
        assert table.layers[candidate.name] == pytest.approx(share)


def test_substitutes_take_what_they_take_alone(table, network, found):
    """As if each one had been put in, exported and timed by itself; bypassing takes nothing."""
    for candidate in found:
        times = table.substitutes[candidate.name]
        assert set(times) == {"zero", *applicable(candidate)}
        assert times["zero"] == times.get("identity", 0) == 0
        for name in set(times) - {"zero", "identity"}:
            alone = times_of(apply_plan(network, [replacement(candidate, name)]))
            assert times[name] == pytest.approx(inside(alone, candidate.name))
            saved_s = table.layers[candidate.name] - times[name]
            assert table.saved_s(candidate.name, name) == pytest.approx(saved_s)


def test_a_shape_is_timed_once_and_no_graph_nests(table, clock, found):
    """Few graphs for many substitutes; the fixture checks that all are covered."""
    shapes = {
        (name, candidate.input_shapes, candidate.output_shapes)
        for candidate in found
        for name in applicable(candidate)
        if name != "identity"
    }

    assert sum(len(plan) for plan in clock.plans) == len(shapes)
    assert len(clock.networks) == 1 + len(clock.plans) < 1 + len(shapes)
    for plan in clock.plans:
        assert len(set(plan)) == len(plan)
        assert not any(a != b and a.startswith(f"{b}.") for a in plan for b in plan)


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
    "newer": lambda d: d.update(version=2),
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
