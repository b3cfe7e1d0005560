"""Which rewrites of the graph are faster on this machine? Leaves `rewrites.json`.

They change no detection, so what they win costs no accuracy. They are tried on the unpruned
network as it would ship, and the artifact of the pruned one is written with those that won.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import onnx

from exporters.bundle import MAX_BOXES, MIN_SCORE
from exporters.graph import Graph, finish_graph
from exporters.keep_faster import Trial, keep_faster
from exporters.precision.lower import FLOAT32, FLOAT_ONLY, INT8, Lowering
from exporters.rewrites import REWRITES
from runtime_bench.artifact.manifest import OutputSpec
from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from runtime_bench.machine.description import describe_machine
from xprune.stages.precision import (
    first_recipe,
    lowering_of,
    refuse_if_slower,
    run_recipe,
)
from xprune.stages.workbench import Workbench

REWRITES_FILE = "rewrites.json"
FORMAT = "xprune-edge rewrites"
VERSION = 1


def kept_rewrites(bench: Workbench) -> tuple[str, ...]:
    """Return the names of the rewrites that are faster here."""
    return tuple(trial.name for trial in rewrite_trials(bench) if trial.kept)


def raw_as_timed(bench: Workbench, raw_graph: bytes) -> bytes:
    """Return a graph from `Workbench.raw_graph`, rewritten but without NMS.

    It is the part of a shipped graph whose time does not depend on what is to be seen. In int8
    it is as fast as what ships, but not as exact.
    """
    return shipped_graph(bench, raw_graph, kept_rewrites(bench), raw=True, quick=True)


def check_precision(bench: Workbench) -> None:
    """Stop a run whose precision is not faster on this machine than float32.

    Raises:
        EdgeError: With the figure, or if the precision is to be tried on another machine.
    """
    config = bench.run.config
    if config.precision == FLOAT32:
        return
    if config.latency_table is not None:
        raise EdgeError(
            f"{config.precision} is tried on this machine, and --latency-table is of another "
            "one; leave one of them out"
        )
    recipe = first_recipe(bench) if config.precision == INT8 else None
    exact = shipped_graph(bench, bench.unpruned_graph, kept_rewrites(bench), precision=FLOAT32)
    refuse_if_slower(bench, exact, lowering_of(bench, recipe, quick=True))


def run_lowering(bench: Workbench, *, quick: bool = False, full: bool = False) -> Lowering:
    """Return how a finished graph of this run is brought to its precision.

    Args:
        bench: The run's parts.
        quick: For timing alone.
        full: With all calibration pictures, for what ships.
    """
    recipe = None
    if bench.run.config.precision == INT8:
        recipe = run_recipe(
            bench,
            lambda: shipped_graph(
                bench, bench.unpruned_graph, kept_rewrites(bench), raw=True, precision=FLOAT32
            ),
        )
    return lowering_of(bench, recipe, quick=quick, full=full)


def rewrite_trials(bench: Workbench) -> tuple[Trial, ...]:
    """Return what each rewrite brings, timed now unless that is known.

    There are none if they are switched off, and none in a run for another machine: what is
    faster there is not known here.

    Raises:
        EdgeError: If the file is not as it was written.
    """
    path = bench.run.file(REWRITES_FILE)
    settings = _settings(bench)
    if path.exists():
        document = read_json(path)
        trials = _trials(document)
        if isinstance(document, dict) and document["settings"] == settings:
            return trials
    trials = ()
    if settings["rewrites"]:
        bench.say("Timing rewrites of the graph that change no detection")
        exact = shipped_graph(bench, bench.unpruned_graph, precision=FLOAT32)
        recipe = first_recipe(bench) if bench.run.config.precision == INT8 else None
        trials = keep_faster(
            onnx.load_from_string(exact),
            bench.timed_images,
            session=bench.session,
            names=settings["rewrites"],
            lower=lowering_of(bench, recipe),
        )
    _write_trials(bench, trials)
    return trials


def adopt_rewrites(bench: Workbench, other: Workbench) -> None:
    """Let a run use the rewrites that were faster for another input size of its network."""
    _write_trials(bench, rewrite_trials(other))


def shipped_graph(
    bench: Workbench,
    raw_graph: bytes,
    rewrites: Iterable[str] = (),
    *,
    raw: bool | None = None,
    precision: str | None = None,
    quick: bool = False,
) -> bytes:
    """Return a graph from `Workbench.raw_graph` as it ships: NMS, rewrites, and precision.

    Args:
        bench: The run's parts.
        raw_graph: With a raw output and not rewritten.
        rewrites: Keys of `exporters.rewrites.REWRITES`, such as `kept_rewrites` returns.
        raw: Whether it ends without NMS; None for what the run was asked for.
        precision: "float32" for a graph in float; None for the run's own precision.
        quick: For timing alone: as fast as what ships, and in int8 not as exact.
    """
    graph = Graph(onnx.load_from_string(raw_graph), "none", {})
    finished = finish_graph(
        graph,
        card=bench.card,
        limits=OutputSpec(min_score=MIN_SCORE, iou=bench.card.nms_iou, max_boxes=MAX_BOXES),
        raw=bench.run.config.raw if raw is None else raw,
        rewrites=rewrites,
    )
    model = finished.model
    if precision is None and bench.run.config.precision != FLOAT32:
        model = run_lowering(bench, quick=quick)(model)
    content: bytes = model.SerializeToString()
    return content


def _write_trials(bench: Workbench, trials: Iterable[Trial]) -> None:
    content = {
        "format": FORMAT,
        "version": VERSION,
        "settings": _settings(bench),
        "trials": [asdict(trial) for trial in trials],
    }
    write_json(bench.run.file(REWRITES_FILE), content)


def _settings(bench: Workbench) -> dict[str, Any]:
    """Return what the times hold for."""
    machine = describe_machine()
    config = bench.run.config
    wanted = config.rewrites == "on" and config.latency_table is None
    left_out = FLOAT_ONLY if config.precision == INT8 else ()
    names = [name for name in REWRITES if name not in left_out]
    precision = {} if config.precision == FLOAT32 else {"precision": config.precision}
    return {
        **precision,
        "weights_sha256": bench.detector.weights_sha256,
        "imgsz": list(bench.size),
        "threads": config.threads,
        "raw": config.raw,
        "rewrites": names if wanted else [],
        **{name: machine.get(name) for name in ("cpu", "cores_available", "onnxruntime")},
    }


def _trials(document: Any) -> tuple[Trial, ...]:
    """Return the trials of a file's content."""
    where = f"{REWRITES_FILE} of the run"
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise EdgeError(f"{where} does not list rewrites; remove it to time them again")
    if document.get("version") != VERSION:
        raise EdgeError(f"{where} has version {document.get('version')}; remove it")
    try:
        document["settings"]
        trials = tuple(
            Trial(
                name=str(entry["name"]),
                places=int(entry["places"]),
                ratio=float(entry["ratio"]),
                interval=(float(entry["interval"][0]), float(entry["interval"][1])),
                kept=entry["kept"] is True,
            )
            for entry in document["trials"]
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise EdgeError(f"{where} lacks or misspells {error}; remove it") from error
    unknown = [trial.name for trial in trials if trial.kept and trial.name not in REWRITES]
    if unknown:
        raise EdgeError(f"{where} names '{unknown[0]}', which is no rewrite; remove it")
    return trials
