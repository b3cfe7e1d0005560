"""The JSON of a frontier: the base, a point for each artifact, and differences of methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from exporters.metadata import package_version
from runtime_bench.artifact.manifest import MODEL_FILE, read_manifest
from runtime_bench.machine.description import describe_machine
from xprune.contest.scoring import Scorer
from xprune.contest.timing import Timed, time_all
from xprune.frontier.arms import Arm, Made
from xprune.frontier.ground import Ground
from xprune.summary import FIGURES, figures_of

FORMAT = "xprune-edge frontier"
VERSION = 1
PROGRAM = "xprune-edge frontier"
OURS = "ours"
# A point whose latency is this far from its budget, as a share of it, is not on it.
ON_BUDGET = 0.02
PACKAGES = (
    "xprune-edge",
    "torch",
    "ultralytics",
    "onnx",
    "onnxruntime",
    "numpy",
    "pycocotools",
)


def figure_in(content: Mapping[str, Any]) -> tuple[str, str]:
    """Return what accuracy is told by in a result: the key and the name of the figure."""
    return figures_of(content)[0]


def sha256_of_model(made: Made) -> str:
    """Return the checksum of an artifact's model."""
    return read_manifest(made.artifact).files[MODEL_FILE].sha256


def measure_arms(
    ground: Ground, arms: Sequence[Arm], *, program: str = PROGRAM
) -> dict[str, Any]:
    """Time all artifacts in one run, score them on the same pictures, and return the result.

    Args:
        ground: What the arms stand on.
        arms: Whole ones, and such as could not be made.
        program: What makes a point again, before its options.
    """
    bench = ground.bench
    made = [one for arm in arms for one in arm.made]
    base_sha256 = read_manifest(ground.base).files[MODEL_FILE].sha256
    ground.say(f"Timing {1 + len(made)} artifacts in turn")
    timed = time_all(
        ground.folder,
        lambda: ground.runner(ground.base, bench.size),
        {
            sha256_of_model(one): lambda one=one: ground.runner(one.artifact, one.imgsz)  # type: ignore[misc]
            for one in made
        },
        base_sha256=base_sha256,
        session=bench.session,
        seed=bench.run.config.seed,
    )
    scorer = Scorer(ground.folder, bench.sets.test, bench.session, seed=bench.run.config.seed)
    key = FIGURES[bench.detector.task][0][0]
    return {
        "format": FORMAT,
        "version": VERSION,
        "task": bench.detector.task,
        "base": {
            key: scorer.accuracy(ground.base),
            f"{key}_interval": list(scorer.interval(ground.base)),
            "latency_s": timed.base_s,
            "imgsz": list(bench.size),
            "precision": "float32",
            "sha256": base_sha256,
            "model": bench.detector.name,
            "weights_sha256": bench.detector.weights_sha256,
            "licence": bench.detector.licence,
        },
        "points": list(_points(ground, arms, timed, scorer, program)),
        "differences": list(_differences(ground, arms, timed, scorer)),
        "timed": {"rounds": timed.rounds, "threads": bench.run.config.threads},
        "options": dict(ground.identity.options),
        "data": {
            "test": len(bench.sets.test.pictures),
            "calibration": len(bench.sets.calibration.pictures),
            "test_source": bench.sets.test.source,
        },
        "machine": describe_machine(),
        "versions": {name: package_version(name) for name in PACKAGES},
    }


def _points(
    ground: Ground, arms: Sequence[Arm], timed: Timed, scorer: Scorer, program: str
) -> Iterator[dict[str, Any]]:
    for arm in arms:
        head = {
            "method": arm.method,
            "budget": arm.budget,
            "command": ground.settings.command(arm.method, arm.budget, program=program),
            "seconds": arm.seconds,
        }
        if arm.error is not None:
            yield {**head, "error": arm.error}
        for made in arm.made:
            yield {**head, **_measured(ground, arm, made, timed, scorer)}


def _measured(
    ground: Ground, arm: Arm, made: Made, timed: Timed, scorer: Scorer
) -> dict[str, Any]:
    digest = sha256_of_model(made)
    ratio = timed.ratios[digest]
    kept, kept_interval = scorer.ratio(made.artifact, ground.base)
    key = FIGURES[ground.bench.detector.task][0][0]
    return {
        key: scorer.accuracy(made.artifact),
        f"{key}_interval": list(scorer.interval(made.artifact)),
        f"{key}_ratio": kept,
        f"{key}_ratio_interval": None if kept_interval is None else list(kept_interval),
        "latency_ratio": ratio,
        "latency_interval": list(timed.intervals[digest]),
        "on_budget": is_on_budget(ratio, arm.budget),
        "imgsz": list(made.imgsz),
        "precision": made.precision,
        "removed": [dict(entry) for entry in made.removed],
        "plan": [list(pair) for pair in made.plan],
        "recovered": dict(made.recovered),
        "sha256": digest,
        "artifact": made.artifact.relative_to(ground.folder).as_posix(),
        **made.more,
    }


def is_on_budget(ratio: float, budget: float) -> bool:
    """Whether a latency is within 2 % of what was wanted."""
    return abs(ratio / budget - 1) <= ON_BUDGET


def _differences(
    ground: Ground, arms: Sequence[Arm], timed: Timed, scorer: Scorer
) -> Iterator[dict[str, Any]]:
    """Yield by how much ours is better than each alternative of its budget, paired."""
    key = FIGURES[ground.bench.detector.task][0][0]
    ours = [arm for arm in arms if arm.method.startswith(OURS)]
    others = [arm for arm in arms if not arm.method.startswith(OURS)]
    for our, other in product(ours, others):
        if our.budget != other.budget:
            continue
        for one, against in product(our.made, other.made):
            value, interval = scorer.difference(one.artifact, against.artifact)
            yield {
                "budget": our.budget,
                "method": our.method,
                "against": other.method,
                "against_imgsz": list(against.imgsz),
                "against_sha256": sha256_of_model(against),
                "against_latency_ratio": timed.ratios[sha256_of_model(against)],
                f"{key}_difference": value,
                f"{key}_interval": list(interval),
            }


def by_budget(content: Mapping[str, Any]) -> dict[float, list[Mapping[str, Any]]]:
    """Return the points of each budget, the most accurate first, what failed at the end."""
    key, _ = figure_in(content)
    points: dict[float, list[Mapping[str, Any]]] = {}
    for point in content["points"]:
        points.setdefault(float(point["budget"]), []).append(point)
    for same in points.values():
        same.sort(key=lambda point: -float(point.get(key, -1)))
    return dict(sorted(points.items(), reverse=True))
