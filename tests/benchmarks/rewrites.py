"""YOLOv8n at 320 px: our file, rewritten, against Ultralytics' own simplified export.

    XPRUNE_DATA=... python -m tests.benchmarks.rewrites

Two scopes, each with the same beginning and end on both sides: boxes and scores out (both give
(1, 84, 2100)), and detections out (our NMS behind both). Graphs are timed in turn in one run on
pictures of coco_pool; detections are compared on all of coco_val. It ends with 1 if the ratio
of the first scope is above the bar, or if a detection differs.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from numpy.typing import NDArray

from exporters.bundle import MAX_BOXES, MIN_SCORE
from exporters.detection_parity import compare_detections
from exporters.heads import append_nms
from exporters.keep_faster import keep_faster
from exporters.rewrites import run_rewrites
from runtime_bench.artifact.decode import decode_yolo
from runtime_bench.artifact.detections import Detections, match_detections
from runtime_bench.artifact.manifest import DETECTION_OUTPUTS, OutputSpec
from runtime_bench.artifact.preprocess import letterbox, read_picture
from runtime_bench.errors import EdgeError
from runtime_bench.machine.description import describe_machine
from runtime_bench.runtime.session import Session, open_session
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.compare import ratio_interval, time_in_turn
from tests.benchmarks.setting import coco_workbench, data_folder, markdown, write_result
from xprune.stages.workbench import Workbench

IOU = 0.7
BAR = 0.93
SETTINGS = SessionSettings(threads=1, spinning=False)
SAME_IOU = 0.99
CLASSES = 80
DISPLAY_SCORE = 0.25

# As upstream does it, and in a process of its own.
EXPORT = """
import sys
import torch
from ultralytics import YOLO
from ultralytics.utils import DEFAULT_CFG_DICT

weights, folder = sys.argv[1:]
yolo = YOLO("yolov8n.yaml")
state = torch.load(weights, weights_only=True)["state_dict"]
yolo.model.load_state_dict({name: value.float() for name, value in state.items()})
yolo.model.args = dict(DEFAULT_CFG_DICT)
yolo.export(format="onnx", simplify=True, imgsz=320)
"""

Image = NDArray[np.float32]


@click.command()
@click.option("--rounds", default=300, show_default=True, help="Of the final timing.")
def main(rounds: int) -> None:
    """Print the tables and write results/rewrites.json."""
    with tempfile.TemporaryDirectory(prefix="rewrites-benchmark-") as folder:
        theirs = export_upstream(Path(folder))
        bench = coco_workbench(Path(folder) / "run", threads=1)
        ours = onnx.load_from_string(bench.unpruned_graph)
        pictures = [_image(bench, picture.path) for picture in bench.sets.test.pictures]
        scopes = {
            "boxes and scores out": (theirs, ours),
            "detections out": (_with_nms(theirs), _with_nms(ours)),
        }
        results: dict[str, Any] = {}
        for name, (upstream, plain) in scopes.items():
            click.echo(f"Timing: {name}", err=True)
            trials = keep_faster(plain, bench.timed_images, session=SETTINGS)
            kept = run_rewrites(plain, [trial.name for trial in trials if trial.kept])[0]
            results[name] = {
                **_timed(upstream, plain, kept, bench.timed_images, rounds=rounds),
                "trials": [asdict(trial) for trial in trials],
                "equal": [
                    _compared((theirs, upstream), kept, pictures, min_score=score)
                    for score in (MIN_SCORE, DISPLAY_SCORE)
                ],
            }
    write_result(
        "rewrites",
        {
            "command": "python -m tests.benchmarks.rewrites",
            "bar": BAR,
            "scopes": results,
            "machine": describe_machine(),
        },
    )
    _print(results)
    ratio = results["boxes and scores out"]["of_theirs"]["rewritten"]["processor"]["ratio"]
    differ = [pair for scope in results.values() for pair in scope["equal"] if pair["problem"]]
    if ratio > BAR or differ:
        raise SystemExit(1)


def export_upstream(folder: Path) -> onnx.ModelProto:
    """Return what Ultralytics' own export with `simplify=True` writes."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            EXPORT,
            str(data_folder() / "weights" / "yolov8n_coco.pth"),
            str(folder),
        ],
        cwd=folder,
        env={
            **os.environ,
            "YOLO_CONFIG_DIR": str(folder),
            "YOLO_OFFLINE": "True",
            "YOLO_AUTOINSTALL": "False",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EdgeError(f"Ultralytics' export failed: {done.stderr.strip().splitlines()[-1]}")
    return onnx.load(folder / "yolov8n.onnx")


def _with_nms(raw: onnx.ModelProto) -> onnx.ModelProto:
    return append_nms(
        raw, names_count=CLASSES, min_score=MIN_SCORE, iou=IOU, max_boxes=MAX_BOXES
    )


def _image(bench: Workbench, path: Path) -> Image:
    return letterbox(read_picture(path), bench.spec)[0][None]


def _timed(
    theirs: onnx.ModelProto,
    plain: onnx.ModelProto,
    kept: onnx.ModelProto,
    images: Sequence[Image],
    *,
    rounds: int,
) -> dict[str, Any]:
    """Time three graphs in turn, once by processor time and once by the clock on the wall."""
    graphs = {"theirs": theirs, "ours": plain, "rewritten": kept}
    runs = [_runner(_open(graph), images) for graph in graphs.values()]
    clocks = {"processor": time.process_time, "wall": time.perf_counter}
    result: dict[str, Any] = {"of_theirs": {name: {} for name in graphs}, "median_s": {}}
    for clock_name, clock in clocks.items():
        samples = time_in_turn(
            runs, min_rounds=rounds, min_time_s=5.0, max_time_s=120.0, seed=0, clock=clock
        )
        for name, times_s in zip(graphs, samples, strict=True):
            result["of_theirs"][name][clock_name] = {
                "ratio": float(np.median(times_s) / np.median(samples[0])),
                "interval": ratio_interval(times_s, samples[0]),
            }
            result["median_s"].setdefault(name, {})[clock_name] = float(np.median(times_s))
    return result


def _compared(
    theirs: tuple[onnx.ModelProto, onnx.ModelProto],
    ours: onnx.ModelProto,
    pictures: Sequence[Image],
    *,
    min_score: float,
) -> dict[str, Any]:
    """Compare detections on all pictures, both sides decoded alike.

    `theirs` is their graph with a raw output, and the one that ends as `ours` does. `same`
    counts the pictures with as many detections, each with a partner of its class at an overlap
    of 0.99; in the others a score or an overlap is at a limit up to rounding, which
    `compare_detections` holds, or there is a problem.
    """
    reference, first, second = _open(theirs[0]), _open(theirs[1]), _open(ours)
    limits = OutputSpec(min_score=min_score, iou=IOU, max_boxes=MAX_BOXES)
    result: dict[str, Any] = {
        "min_score": min_score,
        "pictures": len(pictures),
        "same": 0,
        "detections": 0,
        "ties": 0,
        "problem": None,
    }
    for number, image in enumerate(pictures):
        raw = np.asarray(reference.run(image)["output0"], np.float32)[0]
        expected, actual = (_detections(side, image, limits) for side in (first, second))
        pairs = match_detections(expected, actual, min_iou=SAME_IOU).pairs
        result["same"] += len(expected) == len(actual) == len(pairs)
        result["detections"] += len(expected)
        try:
            parity = compare_detections(raw, actual, output=limits, probe=f"picture {number}")
            result["ties"] += parity.ties
        except EdgeError as error:
            result["problem"] = str(error)
    return result


def _decoded(raw: Image, limits: OutputSpec) -> Detections:
    return decode_yolo(
        raw, min_score=limits.min_score, iou=limits.iou, max_boxes=limits.max_boxes
    )


def _detections(session: Session, image: Image, limits: OutputSpec) -> Detections:
    answer = session.run(image)
    if "output0" in answer:
        return _decoded(np.asarray(answer["output0"], np.float32)[0], limits)
    boxes, scores, labels = (np.asarray(answer[name]) for name in DETECTION_OUTPUTS)
    return Detections(boxes, scores, labels).above(limits.min_score)


def _open(graph: onnx.ModelProto) -> Session:
    return open_session(graph.SerializeToString(), SETTINGS)


def _runner(session: Session, images: Sequence[Image]) -> Callable[[], object]:
    endless = itertools.cycle(images)
    return lambda: session.run(next(endless))


def _print(results: dict[str, Any]) -> None:
    for scope, result in results.items():
        click.echo(f"\n{scope}, one thread")
        rows = [
            [
                name,
                f"{result['median_s'][name]['processor'] * 1000:.2f}",
                *(_ratio(arm[clock]) for clock in ("processor", "wall")),
            ]
            for name, arm in result["of_theirs"].items()
        ]
        click.echo(markdown(("graph", "ms", "of theirs, processor", "of theirs, wall"), rows))
        rows = [
            [
                trial["name"],
                str(trial["places"]),
                _ratio(_inverse(trial)) if trial["places"] else "no place",
                "yes" if trial["kept"] else "no",
            ]
            for trial in result["trials"]
        ]
        click.echo(markdown(("rewrite", "places", "of the time before", "kept"), rows))
        for pair in result["equal"]:
            click.echo(
                f"from score {pair['min_score']:g}: on {pair['same']} of {pair['pictures']} "
                f"pictures the same detections ({pair['detections']}); "
                f"{pair['problem'] or 'no difference beyond rounding'}"
            )


def _inverse(trial: dict[str, Any]) -> dict[str, Any]:
    low, high = trial["interval"]
    return {"ratio": 1 / trial["ratio"], "interval": (1 / high, 1 / low)}


def _ratio(result: dict[str, Any]) -> str:
    low, high = result["interval"]
    return f"{result['ratio']:.3f} ({low:.3f}–{high:.3f})"


if __name__ == "__main__":
    main()
