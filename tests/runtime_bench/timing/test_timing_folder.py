"""Graphs are timed whole and node by node, from a folder that is trusted in nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from runtime_bench.cli import main
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing import timing_folder, timings
from runtime_bench.timing.timing_folder import read_folder, time_folder, write_folder
from runtime_bench.timing.timings import (
    GraphFacts,
    GraphTime,
    TimedModel,
    Timings,
    read_timings,
    time_graphs,
    write_timings,
)
from tests.reference.tiny_models import SIZE, convolutions_model, raw_model

MODEL = TimedModel("tiny", "ab" * 32, SIZE)
SETTINGS = SessionSettings(threads=1, spinning=False)
NETWORK = GraphFacts("network", {})
CUT = GraphFacts("substitutes", {"conv2": "linear"})
IMAGES = [np.full((1, 3, *SIZE), value, np.float32) for value in (0.0, 1.0)]


@pytest.fixture
def graphs() -> list[tuple[GraphFacts, bytes]]:
    """A network of convolutions and, for its copy, a smaller one."""
    pytest.importorskip("onnx")
    return [(NETWORK, convolutions_model()), (CUT, raw_model())]


@pytest.fixture
def folder(tmp_path: Path, graphs) -> Path:
    """The folder with both."""
    write_folder(tmp_path / "graphs", MODEL, graphs, IMAGES)
    return tmp_path / "graphs"


def test_every_graph_is_timed_and_so_is_every_node(graphs):
    """The nodes are those of the file; of a copy they are enough."""
    network, cut = time_graphs(graphs, IMAGES, SETTINGS, runs=20)

    assert (network.facts, cut.facts) == (NETWORK, CUT)
    assert any("conv" in node for node in network.nodes_s)
    assert network.latency_s is not None
    assert network.latency_s > 0
    assert cut.latency_s is None
    for graph in (network, cut):
        assert graph.nodes_s
        assert all(time_s >= 0 for time_s in graph.nodes_s.values())


def test_what_ships_is_timed_against_the_network(graphs, monkeypatch):
    """A machine that is half as fast in the second graph's turn changes nothing."""
    graphs = [graphs[0], (GraphFacts("shipped", {}), graphs[1][1])]
    speeds = iter([1.0, 2.0])

    def in_turn(first: Any, second: Any, images: Any, runs: int) -> Any:
        slow = next(speeds)
        own = 0.010 if first is second else 0.006
        return (0.010 * slow,) * 3, (own * slow,) * 3

    monkeypatch.setattr(timings, "_in_turn", in_turn)

    network, cut = time_graphs(graphs, IMAGES, SETTINGS, runs=5)

    assert network.latency_s == pytest.approx(0.010)
    assert cut.latency_s == pytest.approx(0.006)


def test_the_first_graph_must_be_the_network(graphs):
    """All others are compared with it."""
    with pytest.raises(EdgeError, match="the first graph is of substitutes"):
        list(time_graphs(graphs[::-1], IMAGES, SETTINGS))


def test_a_folder_holds_what_was_written(folder, graphs):
    """Names, facts and checksums; the pictures within half a step of 256."""
    found = read_folder(folder)

    assert found.model == MODEL
    assert [graph.facts for graph in found.graphs] == [NETWORK, CUT]
    for graph, (_, content) in zip(found.graphs, graphs, strict=True):
        assert (folder / graph.file).read_bytes() == content
        assert graph.sha256 == hashlib.sha256(content).hexdigest()
    images = timing_folder._read_inputs(found)
    assert [image.shape for image in images] == [(1, 3, *SIZE)] * 2
    np.testing.assert_array_equal(np.stack(images), np.stack(IMAGES))


def test_the_command_times_a_folder(folder, tmp_path):
    """What it leaves can be read, and nothing unfinished lies beside it."""
    out = tmp_path / "times.json"

    done = CliRunner().invoke(
        main, ["time", str(folder), "--out", str(out), "--threads", "1", "--runs", "5"]
    )

    assert done.exit_code == 0, done.output
    found = read_timings(out)
    assert found.model == MODEL
    assert found.threads == 1
    assert [graph.facts for graph in found.graphs] == [NETWORK, CUT]
    assert found.machine["architecture"]
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []


def test_a_stopped_timing_goes_on(folder, tmp_path, monkeypatch):
    """The network's times stay, the copy alone is timed, and it is scaled to them."""
    out = tmp_path / "times.json"
    first = time_folder(read_folder(folder), out, SETTINGS, runs=5)
    network = next(first)
    first.close()
    profiled: list[bytes] = []
    real = timings.node_times

    def note(content: bytes, *rest: Any, **named: Any) -> Any:
        profiled.append(content)
        return real(content, *rest, **named)

    monkeypatch.setattr(timings, "node_times", note)

    assert not out.exists()
    again = list(time_folder(read_folder(folder), out, SETTINGS, runs=5))

    assert again[0] == network
    assert profiled == [(folder / "graph_001.onnx").read_bytes()]
    assert list(read_timings(out).graphs) == again


def test_other_threads_begin_anew(folder, tmp_path):
    """What was timed with one thread says nothing of two."""
    out = tmp_path / "times.json"
    first = time_folder(read_folder(folder), out, SETTINGS, runs=5)
    network = next(first)
    first.close()

    again = list(time_folder(read_folder(folder), out, SessionSettings(threads=2), runs=5))

    assert again[0] != network
    assert read_timings(out).threads == 2


def _entry(**changes: object):
    return lambda document: document["graphs"][1].update(changes)


DAMAGE = {
    "another file": lambda d: d.update(format="xprune-edge plan"),
    "newer": lambda d: d.update(version=2),
    "no graphs": lambda d: d.update(graphs=[]),
    "graphs as text": lambda d: d.update(graphs="all"),
    "no network": lambda d: d["graphs"].pop(0),
    "two networks": lambda d: d["graphs"].append(d["graphs"][0]),
    "a path out": _entry(file="../graph_001.onnx"),
    "an absolute path": _entry(file="/etc/passwd"),
    "no checksum": _entry(sha256="0"),
    "unknown role": _entry(role="spy"),
    "a substitute as number": _entry(replaced={"conv2": 3}),
    "more keys": _entry(run="rm"),
    "no inputs": lambda d: d["inputs"].update(count=0),
    "a huge picture": lambda d: d["model"].update(imgsz=[10**9, 10**9]),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_forged_manifest_is_one_line(folder, damage):
    """The file, the field, what is wrong."""
    path = folder / "timings.json"
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))

    with pytest.raises(EdgeError, match=r"timings\.json") as caught:
        read_folder(folder)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["graph_001.onnx", "inputs.bin"])
def test_a_changed_file_is_not_run(folder, tmp_path, name):
    """Nor one that is missing; what was asked for is not written."""
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(bytes(content))

    with pytest.raises(EdgeError, match=f"{name} differs from its checksum"):
        list(time_folder(read_folder(folder), tmp_path / "out.json", SETTINGS, runs=5))
    (folder / name).unlink()
    with pytest.raises(EdgeError, match=f"{name} is missing"):
        list(time_folder(read_folder(folder), tmp_path / "out.json", SETTINGS, runs=5))

    assert not (tmp_path / "out.json").exists()


def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path):
    """Even to a file with the right checksum."""
    path = folder / "graph_001.onnx"
    path.rename(tmp_path / "elsewhere.onnx")
    path.symlink_to(tmp_path / "elsewhere.onnx")

    with pytest.raises(EdgeError, match="no plain file"):
        list(time_folder(read_folder(folder), tmp_path / "out.json", SETTINGS, runs=5))


def test_pictures_must_be_of_the_size(folder, tmp_path):
    """A size that the bytes do not fill is an error before memory is taken for it."""
    path = folder / "timings.json"
    document = json.loads(path.read_text())
    document["model"]["imgsz"] = [64, 64]
    path.write_text(json.dumps(document))

    with pytest.raises(EdgeError, match=r"inputs\.bin has 12288 bytes, not 24576"):
        list(time_folder(read_folder(folder), tmp_path / "out.json", SETTINGS, runs=5))


def test_another_folder_is_told_what_is_missing(tmp_path):
    """And how to make it."""
    with pytest.raises(EdgeError, match=r"timings\.json is missing.*latency-table"):
        read_folder(tmp_path)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A file of timings."""
    times = (GraphTime(NETWORK, 0.5, {"a/Conv": 0.25}), GraphTime(CUT, 0.25, {"a/Conv": 0.1}))
    path = tmp_path / "pi5.json"
    write_timings(path, Timings(MODEL, times, None, {"cpu": "Cortex-A76"}))
    return path


def test_timings_survive_their_file(written):
    """To the last bit."""
    found = read_timings(written)
    copy = written.with_name("copy.json")
    write_timings(copy, found)

    assert found.graphs[1] == GraphTime(CUT, 0.25, {"a/Conv": 0.1})
    assert (found.model, found.threads, found.machine) == (MODEL, None, {"cpu": "Cortex-A76"})
    assert copy.read_bytes() == written.read_bytes()


FORGED = {
    "another file": lambda d: d.update(format="xprune-edge latency table"),
    "newer": lambda d: d.update(version=2),
    "no graphs": lambda d: d.pop("graphs"),
    "no time of the network": lambda d: d["graphs"][0].update(latency_s=None),
    "a negative time": lambda d: d["graphs"][1].update(latency_s=-1.0),
    "no time at all": lambda d: d["graphs"][1].update(latency_s=0.0),
    "a node as text": lambda d: d["graphs"][1]["nodes_s"].update({"b/Conv": "fast"}),
    "threads as text": lambda d: d.update(threads="4"),
    "no machine": lambda d: d.update(machine=None),
    "the network second": lambda d: d["graphs"].reverse(),
    "unknown key": lambda d: d.update(also=1),
}


@pytest.mark.parametrize("damage", FORGED.values(), ids=FORGED)
def test_forged_timings_are_one_line(written, damage):
    """The file, the field, what is wrong."""
    document = json.loads(written.read_text())
    damage(document)
    written.write_text(json.dumps(document))

    with pytest.raises(EdgeError, match=r"pi5\.json") as caught:
        read_timings(written)

    assert "\n" not in str(caught.value)
