"""YOLOv8n at 320 px in float32, int8 and float16: how fast, and how good?

    XPRUNE_DATA=... python -m tests.benchmarks.precision

All graphs end with our NMS and are timed in turn in one run, against the plain export in
float32, on one thread and pictures of coco_pool. int8 is calibrated on 64 pictures of
coco_pool, without labels; AP is that of coco_val, which nothing is tuned on. "of convolutions
alone" is what one would get from onnxruntime's own tool: ranges from least to greatest value.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from numpy.typing import NDArray

from exporters.precision.int8 import Recipe, to_int8
from exporters.precision.lower import FLOAT32, FLOAT_ONLY, Lowering
from exporters.precision.places import Places, find_places
from exporters.precision.qdq import insert_pairs
from exporters.precision.ranges import choose_ranges, observe
from exporters.precision.sweep import Sweep, sweep
from exporters.rewrites import REWRITES
from runtime_bench.accuracy.coco import average_precision
from runtime_bench.accuracy.predictions import detect_all
from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import Manifest, OutputSpec
from runtime_bench.machine.description import describe_machine
from runtime_bench.runtime.session import open_session
from runtime_bench.timing.compare import ratio_interval, time_in_turn
from tests.benchmarks.setting import coco_workbench, markdown, write_result
from xprune.stages.precision import calibration_images, first_recipe
from xprune.stages.rewrites import kept_rewrites, shipped_graph
from xprune.stages.workbench import Workbench

Image = NDArray[np.float32]


@click.command()
@click.option("--rounds", default=200, show_default=True, help="Of the timing.")
def main(rounds: int) -> None:
    """Print the table and write results/precision.json."""
    with tempfile.TemporaryDirectory(prefix="precision-benchmark-") as folder:
        bench = coco_workbench(Path(folder) / "run", threads=1)
        in_int8 = coco_workbench(Path(folder) / "int8", threads=1, precision="int8")
        start_s = time.perf_counter()
        graphs, swept = _graphs(bench, in_int8)
        made_s = time.perf_counter() - start_s
        times_s = time_in_turn(
            [bench.runner(graph) for graph in graphs.values()],
            min_rounds=rounds,
            min_time_s=5.0,
            max_time_s=180.0,
            seed=0,
            clock=time.process_time,
        )
        aps = {name: _ap(bench, graph) for name, graph in graphs.items()}
    base = next(iter(graphs))
    results = {
        name: {
            "latency_ratio": float(np.median(times) / np.median(times_s[0])),
            "interval": ratio_interval(times, times_s[0]),
            "ap": aps[name],
            "ap_kept": aps[name] / aps[base],
            "size_bytes": len(graphs[name]),
        }
        for name, times in zip(graphs, times_s, strict=True)
    }
    write_result(
        "precision",
        {
            "command": "python -m tests.benchmarks.precision",
            "machine": describe_machine(),
            "clock": "processor time",
            "seconds_to_make_all": made_s,
            "results": results,
            "sweep": asdict(swept),
        },
    )
    rows = [
        [
            name,
            f"{one['latency_ratio']:.3f} ({one['interval'][0]:.3f}–{one['interval'][1]:.3f})",
            f"{one['ap']:.4f}",
            f"{one['ap_kept']:.3f}",
            f"{one['size_bytes'] / 1e6:.1f} MB",
        ]
        for name, one in results.items()
    ]
    click.echo(markdown(("graph", "latency", "AP", "of float32", "size"), rows))


def _graphs(bench: Workbench, in_int8: Workbench) -> tuple[dict[str, bytes], Sweep]:
    """Return all graphs, the plain one first, and what the sweep has found."""
    plain = shipped_graph(bench, bench.unpruned_graph)
    images = calibration_images(bench)
    conv_alone = _convolutions_alone(onnx.load_from_string(plain), images)
    basis = first_recipe(in_int8)
    rewrites = [name for name in REWRITES if name not in FLOAT_ONLY]
    kept = kept_rewrites(in_int8)
    exact = onnx.load_from_string(
        shipped_graph(bench, bench.unpruned_graph, kept, precision=FLOAT32)
    )
    every = onnx.load_from_string(shipped_graph(bench, bench.unpruned_graph, rewrites))
    raw = shipped_graph(bench, bench.unpruned_graph, kept, raw=True)
    swept = sweep(onnx.load_from_string(raw), images, basis, session=bench.session)
    free = [trial.layer for trial in swept.layers if trial.cost is not None and trial.cost < 0]

    def int8(model: onnx.ModelProto, **changes: Any) -> bytes:
        recipe = replace(swept.recipe, **{"in_float": (), **changes})
        return _bytes(to_int8(model, images, recipe).model)

    graphs: dict[str, Callable[[], bytes]] = {
        "float32": lambda: plain,
        "float32, rewrites": lambda: shipped_graph(
            bench, bench.unpruned_graph, kept_rewrites(bench)
        ),
        "float16": lambda: _bytes(Lowering("float16")(onnx.load_from_string(plain))),
        "int8 of convolutions alone": lambda: _bytes(conv_alone),
        "int8, min-max": lambda: int8(onnx.load_from_string(plain), method="minmax"),
        "int8": lambda: int8(onnx.load_from_string(plain)),
        "int8, rewrites": lambda: int8(exact),
        "int8, every rewrite": lambda: int8(every),
        "int8, rewrites, faster layers in float": lambda: int8(exact, in_float=tuple(free)),
        "int8, rewrites, sweep": lambda: int8(exact, in_float=swept.recipe.in_float),
    }
    return {name: make() for name, make in graphs.items()}, swept


def _convolutions_alone(model: onnx.ModelProto, images: list[Image]) -> onnx.ModelProto:
    """Return a graph with pairs around convolutions only, ranges from least to greatest."""
    places = find_places(model)
    names = {name for layer in places.convolutions.values() for name in layer}
    nodes = [node for node in model.graph.node if node.name in names]
    tensors = dict.fromkeys(name for node in nodes for name in (node.input[0], node.output[0]))
    alone = Places(
        nodes=tuple(node.name for node in nodes),
        convolutions=places.convolutions,
        with_them={},
        in_float=(),
        tensors=tuple(tensors),
        activations={},
        joined=(),
    )
    seen = observe(model, images, alone.tensors, counted=False)
    basis = Recipe(method="minmax")
    return insert_pairs(model, alone, choose_ranges(seen, alone, basis.method))


def _ap(bench: Workbench, graph: bytes) -> float:
    card = bench.card
    manifest = Manifest(
        model_name=card.model_name,
        family=card.family,
        licence=card.licence,
        names=card.names,
        stride=card.stride,
        input=InputSpec(size=bench.size),
        output=OutputSpec(),
        files={},
    )
    session = open_session(graph, bench.session)
    pictures = bench.sets.test.pictures
    found = detect_all(session.run, manifest, pictures, progress=False)
    return average_precision(pictures, found, card.names).ap


def _bytes(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString()
    return content


if __name__ == "__main__":
    main()
