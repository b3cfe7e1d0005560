"""The device side against plain tools: times, memory, accuracy, and what it takes to install.

    XPRUNE_DATA=... python -m tests.benchmarks.device_side

YOLOv8n with COCO weights at 320 px, a file of 12 MB. Beside our harness stands a bare loop
around onnxruntime's own `run`, in turn in one process; beside `xprune-edge bench` a bare script
in a process of its own; beside our AP pycocotools driven by hand on the same predictions; and
the plain install goes into a new environment.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from runtime_bench.accuracy.coco import average_precision
from runtime_bench.accuracy.predictions import detect_all
from runtime_bench.artifact.opened import Opened, open_artifact
from runtime_bench.data.dataset import match_classes, read_dataset
from runtime_bench.machine.description import describe_machine
from runtime_bench.progress import track
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.inputs import in_turn
from runtime_bench.timing.latency import measure_latency
from runtime_bench.timing.overhead import harness_overhead_s
from tests.benchmarks.setting import coco_workbench, data_folder, markdown, write_result
from xprune.stages.baseline import BASELINE_FOLDER, export_baseline

ROOT = Path(__file__).resolve().parents[2]
SIZE_PX = 320
LATENCY_WITHIN = 0.02
MEMORY_RATIO = 1.3
INSTALL_BYTES = 260_000_000
OVERHEAD_S = 1e-4  # 1 % of 10 ms

BARE = """
import sys
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
image = np.random.default_rng(0).random((1, 3, 320, 320), dtype=np.float32)
for _ in range(60):
    session.run(None, {session.get_inputs()[0].name: image})
"""

# Between us and what is measured, since a process begins with the peak of the one that started
# it, and ours has PyTorch in it.
LAUNCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@click.command()
@click.option("--rounds", default=20, show_default=True)
@click.option("--install/--no-install", default=True, help="Also: the size of a new install.")
def main(rounds: int, *, install: bool) -> None:
    """Print the figures and leave results/device_side.json; a missed bar is exit code 1."""
    with tempfile.TemporaryDirectory(prefix="device-side-") as folder:
        bench = coco_workbench(Path(folder) / "run")
        export_baseline(bench)
        artifact = bench.run.file(BASELINE_FOLDER)
        opened = open_artifact(artifact, SessionSettings(threads=1))
        figures = {
            "latency": _latency(opened, rounds),
            "overhead_s": harness_overhead_s(threads=1),
            "memory": _memory(artifact, opened.model),
            "accuracy": _accuracy(opened),
            "install_bytes": _install(Path(folder) / "new") if install else None,
        }
    bars = _bars(figures)
    rows = [(name, figure, bar, "yes" if met else "NO") for name, figure, bar, met in bars]
    click.echo(markdown(("what", "figure", "bar", "met"), rows))
    if install:
        command = "XPRUNE_DATA=... python -m tests.benchmarks.device_side"
        write_result(
            "device_side", {**figures, "machine": describe_machine(), "command": command}
        )
    if not all(met for *_, met in bars):
        raise SystemExit(1)


def _latency(opened: Opened, rounds: int) -> dict[str, Any]:
    """Time stretches of 30 runs, ours and bare, in turn; each has a session of its own."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    bare = ort.InferenceSession(str(opened.model), options, providers=["CPUExecutionProvider"])
    name = bare.get_inputs()[0].name
    image = np.random.default_rng(0).random((1, 3, SIZE_PX, SIZE_PX), dtype=np.float32)
    ours_s: list[float] = []
    bare_s: list[float] = []
    run = in_turn(opened.session, [image])
    for _ in track(range(rounds), label="Timing in turn"):
        timed = measure_latency(run, warmup_runs=3, min_runs=30, min_time_s=0)
        ours_s.append(median(timed.timed_s))
        bare_s.append(_bare_loop(lambda: bare.run(None, {name: image})))
    return {
        "ours_s": ours_s,
        "bare_s": bare_s,
        "ratio": median(ours / other for ours, other in zip(ours_s, bare_s, strict=True)),
    }


def _bare_loop(run: Callable[[], object]) -> float:
    times_s = []
    for _ in range(33):
        start_s = time.perf_counter()
        run()
        times_s.append(time.perf_counter() - start_s)
    return median(times_s[3:])


def _memory(artifact: Path, model: Path) -> dict[str, Any]:
    """Return the peak of `xprune-edge bench`, with all that it starts, and of a bare script."""
    bench = [sys.executable, "-m", "runtime_bench", "bench", str(artifact), "--threads", "1"]
    ours, bare = _peak_bytes(bench), _peak_bytes([sys.executable, "-c", BARE, str(model)])
    return {"bench_bytes": ours, "bare_bytes": bare, "ratio": ours / bare}


def _peak_bytes(command: list[str]) -> int:
    """Return the most memory that a process, or one that it waited for, had at a time."""
    launched = [sys.executable, "-c", LAUNCHER, *command]
    done = subprocess.run(launched, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise click.ClickException(f"{' '.join(command[:4])} ended with {done.stderr[-500:]}")
    return int(done.stdout) * 1024


def _accuracy(opened: Opened) -> dict[str, Any]:
    """Return AP as `bench` takes it, and by pycocotools on the label file as it is."""
    source = data_folder() / "coco_val" / "instances.json"
    matched = match_classes(read_dataset(source), opened.manifest.names)
    found = detect_all(opened.session.run, opened.manifest, matched.pictures)
    ours = average_precision(matched.pictures, found, opened.manifest.names)
    document = json.loads(source.read_text())
    images = {image["file_name"]: image["id"] for image in document["images"]}
    classes = {category["name"]: category["id"] for category in document["categories"]}
    results = [
        {
            "image_id": images[Path(picture.name).name],
            "category_id": classes[opened.manifest.names[label]],
            "bbox": _left_top_sides(box),
            "score": float(score),
        }
        for picture, one in zip(matched.pictures, found, strict=True)
        for box, score, label in zip(one.boxes, one.scores, one.labels, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(source))
        scored = COCOeval(truth, truth.loadRes(results), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return {"ours": ours.ap, "by_hand": float(scored.stats[0])}


def _left_top_sides(box: npt.NDArray[np.float32]) -> list[float]:
    left, top, right, bottom = map(float, box)
    return [left, top, right - left, bottom - top]


def _install(folder: Path) -> int:
    """Return the bytes that the plain install adds to a new environment."""
    venv.create(folder, with_pip=True)
    before = _bytes_in(folder)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), str(ROOT)], check=True)
    return _bytes_in(folder) - before


def _bytes_in(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)


def _bars(figures: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Return what, figure, bar, and whether it is met."""
    latency, memory, accuracy = (figures[name] for name in ("latency", "memory", "accuracy"))
    overhead_s, installed = figures["overhead_s"], figures["install_bytes"]
    bars = [
        (
            "median latency over a bare loop",
            f"{latency['ratio']:.4f}",
            f"within {LATENCY_WITHIN:.0%}",
            abs(latency["ratio"] - 1) <= LATENCY_WITHIN,
        ),
        (
            "harness on a model that does nothing",
            f"{overhead_s * 1e6:.1f} us",
            f"{OVERHEAD_S * 1e6:.0f} us",
            overhead_s <= OVERHEAD_S,
        ),
        (
            "peak memory of bench over a bare script",
            f"{memory['ratio']:.2f}",
            f"{MEMORY_RATIO}",
            memory["ratio"] <= MEMORY_RATIO,
        ),
        (
            "AP, ours and by hand",
            f"{accuracy['ours']:.6f}, {accuracy['by_hand']:.6f}",
            "the same",
            abs(accuracy["ours"] - accuracy["by_hand"]) < 1e-9,
        ),
    ]
    if installed is not None:
        size = f"{installed / 1e6:.0f} MB"
        limit = f"{INSTALL_BYTES / 1e6:.0f} MB"
        bars.append(("plain install", size, limit, installed <= INSTALL_BYTES))
    return bars


if __name__ == "__main__":
    main()
