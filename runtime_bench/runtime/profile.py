"""How long every operation of a model takes, from the profile that onnxruntime writes.

onnxruntime rewrites the graph on load, and the names with it: a convolution in its blocked
layout is called after the value it gives ("…_nchwc"), SiLU becomes one QuickGelu node called
after its Mul ("…/QuickGeluFusion/"), and nodes called ReorderInput and ReorderOutput appear
between layouts. In a graph in 8 bits a pair is called after its value ("…_QuantizeLinear",
"…_dq"), and Transpose nodes appear that no file has. `source` is the name without these
additions.
"""

from __future__ import annotations

import re
import statistics
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import read_json
from runtime_bench.runtime.feeds import feeds_of, named_arrays
from runtime_bench.runtime.fresh_process import answer, ask_fresh
from runtime_bench.runtime.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runtime_bench.runtime.feeds import Feed
    from runtime_bench.runtime.settings import SessionSettings

WARMUP_RUNS = 2

_FOLDER_PREFIX = "xprune-edge-profile-"
_KERNEL = "_kernel_time"
_INSERTED = frozenset({"ReorderInput", "ReorderOutput"})
_ADDED = re.compile(r"(^fused )|(_token_\d+|_nchwc|/\w+Fusion/?)$")
_PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})
_OF_PAIR = re.compile(r"_(QuantizeLinear|DequantizeLinear|q|dq)(_\d+)?$")


@dataclass(frozen=True)
class NodeTime:
    """The time of one node of the graph as onnxruntime runs it.

    Attributes:
        name: The name of the node in onnxruntime's own graph.
        op_type: Its operation there, such as "Conv" or "QuickGelu".
        source: The node (or value) of the file that it comes from; None for a change of
            layout, which comes from no node.
        time_s: Median over the runs of the seconds that it took in one run.
        provider: The execution provider that ran it, by onnxruntime's name.
    """

    name: str
    op_type: str
    source: str | None
    time_s: float
    provider: str = ""


@dataclass(frozen=True)
class ProviderShare:
    """What an execution provider ran: how many nodes, and what share of their time."""

    nodes: int
    time_share: float


@dataclass(frozen=True)
class NodeTimes:
    """The time of every node of a model.

    Attributes:
        nodes: In the order in which they run.
        run_s: Median of the seconds of a whole run, profiling included.
    """

    nodes: tuple[NodeTime, ...]
    run_s: float

    @property
    def total_s(self) -> float:
        """The sum of the times of all nodes, without what is between them."""
        return sum(node.time_s for node in self.nodes)

    @property
    def by_provider(self) -> dict[str, ProviderShare]:
        """What each execution provider ran, the busiest first."""
        total_s = self.total_s or 1.0
        counts: dict[str, int] = defaultdict(int)
        times_s: dict[str, float] = defaultdict(float)
        for node in self.nodes:
            counts[node.provider] += 1
            times_s[node.provider] += node.time_s
        return {
            name: ProviderShare(counts[name], time_s / total_s)
            for name, time_s in sorted(times_s.items(), key=lambda entry: -entry[1])
        }

    @property
    def by_op_type(self) -> dict[str, tuple[int, float]]:
        """How many nodes of each operation there are, and their seconds, the slowest first."""
        return _counted((node.op_type, node.time_s) for node in self.nodes)

    @property
    def by_layer(self) -> dict[str, tuple[int, float]]:
        """The same of each layer: what stands before the last "/" in the names of the file.

        What comes from no node of the file counts for the next one, as in `by_source`.
        """
        by_source = self.by_source
        nodes: dict[str, int] = defaultdict(int)
        for node in self.nodes:
            nodes[node.source or ""] += 1
        found: dict[str, tuple[int, float]] = {}
        for source, time_s in by_source.items():
            layer = source.rpartition("/")[0] or source
            count, so_far_s = found.get(layer, (0, 0.0))
            found[layer] = count + nodes[source], so_far_s + time_s
        return dict(sorted(found.items(), key=lambda entry: -entry[1][1]))

    @property
    def by_name(self) -> dict[str, float]:
        """Seconds by the name of the node in onnxruntime's own graph."""
        times_s: dict[str, float] = defaultdict(float)
        for node in self.nodes:
            times_s[node.name] += node.time_s
        return dict(times_s)

    @property
    def by_source(self) -> dict[str, float]:
        """Seconds by the node of the file; a change of layout counts for the next such node.

        Layouts change because the node that follows needs another one.
        """
        times_s: dict[str, float] = defaultdict(float)
        waiting_s = 0.0
        last = None
        for node in self.nodes:
            if node.source is None:
                waiting_s += node.time_s
                continue
            times_s[node.source] += node.time_s + waiting_s
            waiting_s, last = 0.0, node.source
        if last is not None:
            times_s[last] += waiting_s
        return dict(times_s)


def _counted(times_s: Iterable[tuple[str, float]]) -> dict[str, tuple[int, float]]:
    counts: dict[str, tuple[int, float]] = {}
    for name, time_s in times_s:
        count, so_far_s = counts.get(name, (0, 0.0))
        counts[name] = count + 1, so_far_s + time_s
    return dict(sorted(counts.items(), key=lambda entry: -entry[1][1]))


def node_times(
    model: Path | bytes,
    images: Sequence[Feed],
    settings: SessionSettings,
    *,
    runs: int,
) -> NodeTimes:
    """Run a model with profiling on, and return the median time of every node.

    Args:
        model: The ONNX file, or its bytes.
        images: Inputs as `Session.run` takes them, used in turn.
        settings: How to run; where the profile goes is decided here.
        runs: How many runs count; two more warm up.

    Raises:
        EdgeError: If the model cannot be loaded or run, or its profile lacks runs.
        UsageError: If `runs` is below 1 or there is no image.
    """
    _check_runs(runs, images)
    with tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX) as folder:
        session = open_session(model, replace(settings, profile_path=Path(folder) / "profile"))
        for index in range(WARMUP_RUNS + runs):
            session.run(images[index % len(images)])
        path = session.end_profiling()
        del session  # its memory is not needed while the events take theirs
        events = read_json(path)
    return read_profile(events, runs=runs)


def node_times_apart(
    model: Path, images: Sequence[Feed], settings: SessionSettings, *, runs: int
) -> NodeTimes:
    """Do as `node_times` does, in a fresh process: a second session takes its memory there.

    Raises:
        EdgeError: As there, and if the process is killed.
        UsageError: As there.
    """
    _check_runs(runs, images)
    with tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX) as folder:
        feeds = Path(folder) / "feeds.npz"
        np.savez(feeds, allow_pickle=False, **named_arrays(images))
        told = ask_fresh(__name__, model, settings, {"feeds": str(feeds), "runs": runs})
    run_s = told.pop("run_s")
    return NodeTimes(nodes=tuple(NodeTime(**node) for node in told["nodes"]), run_s=run_s)


def _profile(model: Path, settings: SessionSettings, asked: dict[str, Any]) -> dict[str, Any]:
    """In the fresh process."""
    with np.load(asked["feeds"]) as arrays:
        images = feeds_of(arrays)
    return asdict(node_times(model, images, settings, runs=asked["runs"]))


def read_profile(events: object, *, runs: int) -> NodeTimes:
    """Return the median times of the last `runs` runs in a profile of onnxruntime.

    Args:
        events: What the profile's JSON file holds: a list of Chrome trace events, in
            microseconds.
        runs: How many runs count.

    Raises:
        EdgeError: If the profile has fewer runs (onnxruntime keeps a million events at most).
    """
    trace = cast("list[dict[str, Any]]", events)
    whole = sorted(
        (event["ts"], event["ts"] + event["dur"])
        for event in trace
        if event.get("name") == "model_run"
    )[-runs:]
    if len(whole) < runs:
        raise EdgeError(f"the profile has {len(whole)} of {runs} runs; ask for fewer runs")
    kernels = sorted(
        (event for event in trace if _is_kernel(event)), key=lambda event: int(event["ts"])
    )
    # A node inside a loop runs several times in one run; its times are added.
    samples_us: dict[tuple[str, str, str, str], list[int]] = {}
    run = 0
    for event in kernels:
        while run < runs and event["ts"] > whole[run][1]:
            run += 1
        if run == runs or event["ts"] < whole[run][0]:
            continue
        key = _key(event)
        samples_us.setdefault(key, [0] * runs)[run] += event["dur"]
    nodes = tuple(
        NodeTime(
            name=name,
            op_type=op_type,
            source=source_of(name, op_type),
            time_s=statistics.median(durations_us) * 1e-6,
            provider=provider,
        )
        for (name, op_type, provider, _), durations_us in samples_us.items()
    )
    run_us = statistics.median(end_us - start_us for start_us, end_us in whole)
    return NodeTimes(nodes=nodes, run_s=run_us * 1e-6)


def source_of(name: str, op_type: str) -> str | None:
    """Return the name in the file of a node that onnxruntime may have renamed.

    With the level "all", a convolution and the activation that was fused into it come out
    under the name of the value that the two give together.
    """
    if op_type in _INSERTED:
        return None
    while (shorter := _ADDED.sub("", name)) != name:
        name = shorter
    if op_type in _PAIR:
        # What no layer has made is the picture, and a pair that was made on load has no name.
        name = _OF_PAIR.sub("", name)
        return name if "/" in name else None
    return None if name == op_type == "Transpose" else name


def _is_kernel(event: dict[str, Any]) -> bool:
    return event.get("cat") == "Node" and str(event.get("name")).endswith(_KERNEL)


def _key(event: dict[str, Any]) -> tuple[str, str, str, str]:
    details = event.get("args", {})
    name = str(event["name"]).removesuffix(_KERNEL)
    # The index tells apart nodes without a name.
    op_type, provider = str(details.get("op_name", "")), str(details.get("provider", ""))
    return name, op_type, provider, str(details.get("node_index", ""))


def _check_runs(runs: int, images: Sequence[Feed]) -> None:
    if runs < 1 or not images:
        raise UsageError(f"profiling needs a run and an image; asked: {runs}, {len(images)}")


if __name__ == "__main__":
    answer(_profile)
