"""A made-up but plausible run: 150 layers of a YOLOv8, 4 criteria, 8 removed layers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from runtime_bench.artifact.detections import Detections
from runtime_bench.bench.result import ArtifactFacts, BenchResult, BenchSettings
from runtime_bench.timing.latency import LatencySamples
from xprune.explain.report import Example, write_report

NAMES = ("disc", "ring", "square", "triangle", "star", "cross")
BASE_S = 0.0123
SUBSTITUTES = ("identity", "affine", "linear")
REMOVED = {  # layer: substitute, share of the time
    "model.4.m.1": ("linear", 0.041),
    "model.6.m.1": ("linear", 0.034),
    "model.6.m.0.cv2": ("linear", 0.021),
    "model.8.m.0": ("affine", 0.030),
    "model.12.m.0": ("identity", 0.026),
    "model.15.m.0.cv1": ("linear", 0.022),
    "model.18.m.0": ("identity", 0.018),
    "model.21.cv2": ("linear", 0.012),
}


@dataclass(frozen=True)
class Run:
    """The arguments of `write_report`; `changed` gives a copy with some of them replaced."""

    summary: dict[str, Any]
    scores: dict[str, Any]
    plan: dict[str, Any]
    latency: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    examples: list[Example]
    names: tuple[str, ...] = field(default=NAMES)

    def changed(self, **arguments: Any) -> Run:
        """Return a copy with some arguments replaced."""
        return replace(self, **arguments)

    def write(self, path: Path) -> str:
        """Write the report to `path` and return its text."""
        write_report(path, **vars(self))
        return path.read_text(encoding="utf-8")


def make_run(seed: int = 0) -> Run:
    """Make all of it from one seed."""
    rng = np.random.default_rng(seed)
    candidates = yolo_candidates()
    scores = make_scores(candidates, rng)
    plan = make_plan(candidates, scores)
    before = make_bench(rng, median_s=BASE_S, size_bytes=12_851_047, peak=143_654_912)
    after = make_bench(rng, median_s=BASE_S / 1.25, size_bytes=11_402_118, peak=139_460_608)
    return Run(
        summary=make_summary(plan, before=before, after=after),
        scores=scores,
        plan=plan,
        latency=make_latency(candidates, rng),
        before=before,
        after=after,
        examples=[make_example(rng, index) for index in range(4)],
    )


def yolo_candidates() -> list[dict[str, Any]]:
    """Return 150 candidates named and nested like those of Ultralytics' YOLOv8."""
    blocks = {2: 1, 4: 2, 6: 2, 8: 1, 12: 1, 15: 1, 18: 1, 21: 1}
    names = []
    for index in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 18, 19, 21):
        names.append((f"model.{index}", None))
        if index not in blocks and index != 9:
            continue
        inside = ["cv1", "cv2", *(f"m.{number}" for number in range(blocks.get(index, 0)))]
        for part in inside:
            names.append((f"model.{index}.{part}", f"model.{index}"))
            if part.startswith("m."):
                whole = f"model.{index}.{part}"
                names += [(f"{whole}.{conv}", whole) for conv in ("cv1", "cv2")]
    for branch in ("cv2", "cv3"):
        for level in range(3):
            whole = f"model.22.{branch}.{level}"
            names.append((whole, "model.22"))
            names += [(f"{whole}.{step}", whole) for step in range(3)]
    named = dict(names)
    flat = []
    for name, parent in names:
        flat.append((name, parent))
        if name not in named.values():
            flat.append((f"{name}.conv", name))
    return [_candidate(name, parent) for name, parent in flat[:150]]


def _candidate(name: str, parent: str | None) -> dict[str, Any]:
    kind = "Conv2d" if name.endswith(".conv") else "Bottleneck" if ".m." in name else "Conv"
    return {
        "name": name,
        "type": "C2f" if name.count(".") == 1 and name not in ("model.0", "model.1") else kind,
        "parent": parent,
        "input_shapes": [[64, 40, 40]],
        "output_shapes": [[64, 40, 40]],
        "parameters": 36_864,
        "macs": 58_982_400,
        "calls": 1,
        "substitutes": list(SUBSTITUTES),
        "convolution": kind == "Conv2d",
    }


def make_scores(candidates: list[dict[str, Any]], rng: np.random.Generator) -> dict[str, Any]:
    """Return `scores.json`: wide and narrow ranges, one criterion with both signs."""
    depth = np.linspace(2.0, 0.0, len(candidates))
    worth = np.exp(depth + rng.normal(0, 1.1, len(candidates)))
    tables = []
    for criterion, substitute, values in (
        ("removal", "identity", worth * 3),
        ("removal", "affine", worth * 2),
        ("removal", "linear", worth),
        ("fisher", "linear", worth**2 * 1e-4),
        ("removal_signed", "linear", worth * rng.normal(0.3, 0.5, len(worth))),
        ("l1", None, rng.uniform(200, 2600, len(worth))),
    ):
        layers = {
            entry["name"]: {"mean": float(value), "std": float(abs(value) * 0.4)}
            for entry, value in zip(candidates, values, strict=True)
        }
        for name in REMOVED:
            layers[name]["mean"] *= 0.06
        tables.append({"criterion": criterion, "substitute": substitute, "layers": layers})
    return {
        "format": "xprune-edge scores",
        "version": 1,
        "model": {"name": "yolov8n", "sha256": "3b" * 32},
        "imgsz": [320, 320],
        "seed": 0,
        "count": 64,
        "targets": "labels",
        "pictures": [f"pool_{index:06d}.jpg" for index in range(64)],
        "loss": {"mean": 3.412, "std": 0.981},
        "candidates": candidates,
        "scores": tables,
    }


def make_latency(candidates: list[dict[str, Any]], rng: np.random.Generator) -> dict[str, Any]:
    """Return `latency.json`."""
    layers = {
        entry["name"]: BASE_S * float(share)
        for entry, share in zip(candidates, rng.gamma(1.4, 0.009, len(candidates)), strict=True)
    }
    parts = {"identity": 0.0, "affine": 0.12, "linear": 0.35}
    return {
        "format": "xprune-edge latency table",
        "version": 1,
        "base_s": BASE_S,
        "layers": layers,
        "substitutes": {
            name: {substitute: time_s * part for substitute, part in parts.items()}
            for name, time_s in layers.items()
        },
        "settings": {},
    }


def make_plan(candidates: list[dict[str, Any]], scores: dict[str, Any]) -> dict[str, Any]:
    """Return `plan.json`."""
    types = {entry["name"]: entry["type"] for entry in candidates}
    tables = {
        table["substitute"]: table["layers"]
        for table in scores["scores"]
        if table["criterion"] == "removal"
    }
    choices = [
        {
            "layer": name,
            "type": types[name],
            "substitute": substitute,
            "score": tables[substitute][name]["mean"],
            "saved_s": BASE_S * share,
            "share": share,
            "reason": (
                f"saves {share:.1%} of the time for removal "
                f"{tables[substitute][name]['mean']:.3g}: number {number} of 131 by "
                "importance for its time"
            ),
        }
        for number, (name, (substitute, share)) in enumerate(REMOVED.items(), start=1)
    ]
    return {
        "criterion": "removal",
        "asked": {"speedup": 1.25, "latency_s": None, "layers": None, "fraction": None},
        "choices": choices,
        "predicted_speedup": 1.2563,
        "measured_speedup": 1.2512,
        "measured_interval": [1.2318, 1.2704],
        "base_latency_s": BASE_S,
    }


def make_summary(
    plan: dict[str, Any], *, before: dict[str, Any], after: dict[str, Any]
) -> dict[str, Any]:
    """Return `summary.json`."""
    return {
        "model": {
            "name": "yolov8n",
            "weights_sha256": "3b" * 32,
            "licence": "AGPL-3.0",
            "imgsz": [320, 320],
        },
        "before": {
            "ap": 0.2913,
            "ap50": 0.4287,
            "latency_s": before["latency_s"],
            "parameters": 3_151_904,
            "size_bytes": 12_851_047,
            "macs": 1_093_000_000,
        },
        "after": {
            "ap": 0.2797,
            "ap50": 0.4152,
            "latency_s": after["latency_s"],
            "parameters": 2_790_112,
            "size_bytes": 11_402_118,
            "macs": 893_000_000,
        },
        "speedup": 1.2512,
        "speedup_interval": [1.2318, 1.2704],
        "removed": [
            {key: value for key, value in choice.items() if key != "share"}
            for choice in plan["choices"]
        ],
        "criterion": "removal",
        "recover": "refit",
        "data": {
            "test": [f"{index:012d}.jpg" for index in range(200)],
            "calibration": [f"pool_{index:06d}.jpg" for index in range(64)],
            "skipped": ["broken.jpg: the file ends early"],
        },
        "machine": {
            "cpu": "Cortex-A76",
            "architecture": "aarch64",
            "cores_logical": 4,
            "governor": "performance",
            "frequency_hz": 2_400_000_000,
            "temperature_c": 54.2,
            "throttled": None,
            "memory_total_bytes": 8_322_940_928,
            "os": "Debian GNU/Linux 12",
        },
        "versions": {"python": "3.11.2", "torch": "2.15.0", "onnxruntime": "1.31.1"},
        "seed": 0,
        "command": "xprune-edge prune-export --model yolov8n.pt --data coco.yaml",
    }


def make_bench(
    rng: np.random.Generator, *, median_s: float, size_bytes: int, peak: int
) -> dict[str, Any]:
    """Return a benchmark result with 400 samples: a body, a tail, and one very slow run."""
    times = median_s * (0.98 + rng.gamma(2.0, 0.012, 400))
    times[17] = median_s * 4
    result = BenchResult(
        artifact=ArtifactFacts("yolov8n", "9c" * 32, size_bytes, (320, 320), "detections"),
        settings=BenchSettings(),
        provider="CPUExecutionProvider",
        threads=1,
        machine={},
        data=None,
        latency_input="pictures",
        accuracy=None,
        latency=LatencySamples((median_s * 2,) * 5, tuple(times.tolist())),
        end_to_end=None,
        load_time_s=0.0712,
        first_run_s=median_s * 1.9,
        peak_memory_bytes=peak,
    )
    return result.to_json()


def make_example(rng: np.random.Generator, index: int) -> Example:
    """Return a drawn scene; the pruned model misses a box and moves the others a little."""
    width, height = ((640, 427), (427, 640), (192, 192), (1280, 720))[index]
    image = Image.new("RGB", (width, height), tuple(rng.integers(150, 235, 3).tolist()))
    canvas = ImageDraw.Draw(image)
    side = min(width, height)
    boxes, labels = [], []
    for _ in range(5):
        size = rng.uniform(0.16, 0.36) * side
        left, top = rng.uniform(0, width - size), rng.uniform(0, height - size)
        label = int(rng.integers(0, len(NAMES)))
        draw = canvas.ellipse if label < 2 else canvas.rectangle
        draw((left, top, left + size, top + size), fill=tuple(rng.integers(0, 200, 3).tolist()))
        boxes.append((left, top, left + size, top + size))
        labels.append(label)
    truth = Detections(np.array(boxes), np.ones(5), np.array(labels))
    # The last one is below the threshold for drawing.
    before = replace(truth, scores=np.array([0.94, 0.91, 0.83, 0.62, 0.11]))
    moved = truth.boxes + rng.normal(0, side * 0.008, (5, 4)).astype(np.float32)
    after = Detections(moved, np.array([0.92, 0.88, 0.71, 0.19, 0.08]), truth.labels)
    return Example(f"{index:012d}.jpg", np.asarray(image), before, after, truth)
