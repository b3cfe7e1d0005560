"""A folder with all that is to be timed on another machine, and the timing of it there.

`timings.json` in it names every graph with its checksum; `inputs.bin` holds the pictures. A
folder comes from elsewhere, so nothing is run before its checksum was compared, and no path
leaves the folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from runtime_bench.errors import EdgeError
from runtime_bench.files import atomic_folder, read_json, sha256_of, write_bytes, write_json
from runtime_bench.json_fields import JsonFields
from runtime_bench.machine.description import describe_machine
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.timings import (
    RUNS,
    GraphFacts,
    GraphTime,
    Image,
    TimedModel,
    Timings,
    read_facts,
    read_graphs,
    read_model,
    read_timings,
    time_graphs,
    write_timings,
)

FORMAT = "xprune-edge graphs to time"
VERSION = 1
MANIFEST = "timings.json"
INPUTS = "inputs.bin"
MOST_INPUTS = 64
# A graph's name in the folder, so that no path can lead out of it.
_NAME = re.compile(r"graph_\d{1,5}\.onnx")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class GraphFile:
    """A graph in the folder."""

    file: str
    sha256: str
    facts: GraphFacts


@dataclass(frozen=True)
class TimingFolder:
    """What is to be timed.

    Attributes:
        path: The folder.
        model: The network that all graphs are copies of.
        graphs: The network first.
        inputs: How many pictures there are to run on.
        inputs_sha256: The checksum of their file.
    """

    path: Path
    model: TimedModel
    graphs: tuple[GraphFile, ...]
    inputs: int
    inputs_sha256: str


def write_folder(
    path: Path,
    model: TimedModel,
    graphs: Iterable[tuple[GraphFacts, bytes]],
    images: Sequence[Image],
) -> None:
    """Write a folder to be timed, whole or not at all.

    Args:
        path: Where; a folder that is there is replaced.
        model: The network.
        graphs: What each graph is, and its ONNX; the network first.
        images: Inputs (1, 3, H, W) from 0 to 1; kept in 256 steps.

    Raises:
        EdgeError: If the folder cannot be written.
    """
    with atomic_folder(path) as partial:
        entries = []
        for index, (facts, content) in enumerate(graphs):
            file = f"graph_{index:03d}.onnx"
            write_bytes(partial / file, content)
            sha256 = sha256_of(partial / file)
            entries.append({"file": file, "sha256": sha256, **asdict(facts)})
        pixels = [np.round(image * 255).astype(np.uint8).tobytes() for image in images]
        write_bytes(partial / INPUTS, b"".join(pixels))
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "model": asdict(model),
            "inputs": {"count": len(images), "sha256": sha256_of(partial / INPUTS)},
            "graphs": entries,
        }
        write_json(partial / MANIFEST, manifest)


def read_folder(path: Path) -> TimingFolder:
    """Read what is to be timed; files are checked when their turn comes.

    Raises:
        EdgeError: If the folder has no manifest, or a malformed one.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise EdgeError(
            f"{path} holds no graphs to time ({MANIFEST} is missing); make them with: "
            "xprune-edge latency-table MODEL --out FOLDER"
        )
    fields = JsonFields(read_json(file), source=str(file))
    fields.text("format", choices=(FORMAT,))
    fields.integer("version", least=VERSION, most=VERSION)
    model = read_model(fields.child("model"))
    inputs = fields.child("inputs")
    count = inputs.integer("count", least=1, most=MOST_INPUTS)
    inputs_sha256 = _checksum(inputs)
    inputs.finish()
    graphs = read_graphs(fields, _graph_file, facts=lambda graph: graph.facts)
    return TimingFolder(path, model, graphs, count, inputs_sha256)


def time_folder(
    folder: TimingFolder,
    out: Path,
    settings: SessionSettings,
    *,
    runs: int = RUNS,
) -> Iterator[GraphTime]:
    """Time every graph of a folder, yield each one's times, and write all to `out` at the end.

    What is timed already is kept beside `out` under the name with ".unfinished", and a timing
    that was stopped goes on from there, on the same machine and with the same threads.

    Args:
        folder: What to time.
        out: Where the timings go.
        settings: How onnxruntime runs.
        runs: Runs of each graph at most.

    Raises:
        EdgeError: If a file is not as the manifest says, or does not run.
    """
    unfinished = out.with_name(f"{out.name}.unfinished")
    timings = _begun(unfinished, folder, settings)
    images = _read_inputs(folder)
    yield from timings.graphs
    done = list(timings.graphs)
    left = folder.graphs[max(1, len(done)) :]
    times = time_graphs(
        _read_graphs(folder, (folder.graphs[0], *left)),
        images,
        settings,
        runs=runs,
        known_s=timings.network_s if done else None,
    )
    for time in times:
        done.append(time)
        timings = replace(timings, graphs=tuple(done))
        write_timings(unfinished, timings)
        yield time
    write_timings(out, timings)
    unfinished.unlink(missing_ok=True)


def _begun(unfinished: Path, folder: TimingFolder, settings: SessionSettings) -> Timings:
    """Return what an earlier timing of just this left, or timings without any graph."""
    fresh = Timings(folder.model, (), settings.threads, describe_machine())
    if not unfinished.is_file():
        return fresh
    try:
        found = read_timings(unfinished)
    except EdgeError:
        return fresh
    same_facts = [graph.facts for graph in found.graphs] == [
        graph.facts for graph in folder.graphs[: len(found.graphs)]
    ]
    same = (found.model, found.threads) == (fresh.model, fresh.threads) and all(
        found.machine.get(name) == fresh.machine[name] for name in ("cpu", "onnxruntime")
    )
    return found if same and same_facts else fresh


def _read_graphs(
    folder: TimingFolder, graphs: Iterable[GraphFile]
) -> Iterator[tuple[GraphFacts, bytes]]:
    for graph in graphs:
        yield graph.facts, _checked(folder.path / graph.file, graph.sha256)


def _read_inputs(folder: TimingFolder) -> list[Image]:
    """Return the pictures, each (1, 3, H, W) from 0 to 1."""
    path = folder.path / INPUTS
    content = np.frombuffer(_checked(path, folder.inputs_sha256), dtype=np.uint8)
    shape = (folder.inputs, 1, 3, *folder.model.imgsz)
    if content.size != np.prod(shape):
        raise EdgeError(f"{path} has {content.size} bytes, not {np.prod(shape)}; copy it again")
    return list((content.reshape(shape) / np.float32(255)).astype(np.float32))


def _checked(path: Path, sha256: str) -> bytes:
    """Return what a file holds if it is just what the manifest says."""
    if path.is_symlink() or not path.is_file():
        raise EdgeError(f"{path} is missing or no plain file; copy the folder again")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EdgeError(f"cannot read {path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EdgeError(f"{path} differs from its checksum in {MANIFEST}; copy it again")
    return content


def _graph_file(fields: JsonFields) -> GraphFile:
    file = fields.text("file")
    if not _NAME.fullmatch(file):
        raise fields.error("file", f"must be like graph_001.onnx, not {file[:40]!r}")
    sha256 = _checksum(fields)
    facts = read_facts(fields)
    fields.finish()
    return GraphFile(file, sha256, facts)


def _checksum(fields: JsonFields) -> str:
    sha256 = fields.text("sha256")
    if not _SHA256.fullmatch(sha256):
        raise fields.error("sha256", "must be 64 hexadecimal digits")
    return sha256
