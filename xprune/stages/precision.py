"""How the run's network is brought to its precision. Leaves `precision.json` for int8.

The recipe is found on the unpruned network as it would ship: which type flows, how ranges are
chosen, and which layers stay in float. It holds for all plans and sizes of the same weights on
the same machine; what was found of each layer is kept at once, so that it can be gone on with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import onnx

from exporters.precision.int8 import Recipe
from exporters.precision.lower import INT8, Lowering
from exporters.precision.qdq import ACTIVATIONS
from exporters.precision.ranges import METHODS
from exporters.precision.sums import sums_overflow
from exporters.precision.sweep import Sweep, sweep
from exporters.probes import Image
from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from runtime_bench.machine.description import describe_machine
from runtime_bench.timing.compare import Comparison
from runtime_bench.timing.openings import compare_opened
from xprune.stages.workbench import Workbench

PRECISION_FILE = "precision.json"
FORMAT = "xprune-edge precision"
VERSION = 1
# Pictures for a graph that is not yet the one that ships.
FEW_PICTURES = 16

Document = dict[str, Any]


def first_recipe(bench: Workbench) -> Recipe:
    """Return the recipe before any layer was looked at: which type flows is timed, once."""
    document = _document(bench)
    if "basis" not in document:
        document["basis"] = asdict(_basis(bench))
        _write(bench, document)
    return _recipe(document["basis"])


def run_recipe(bench: Workbench, rewritten: Callable[[], bytes]) -> Recipe:
    """Return the run's recipe, found now unless it is known.

    Args:
        bench: The run's parts.
        rewritten: Gives the unpruned raw graph with the rewrites that ship, in float.

    Raises:
        EdgeError: If the file is not as it was written, or there are too few pictures.
    """
    basis = first_recipe(bench)
    document = _document(bench)
    if "sweep" not in document:
        found = _swept(bench, rewritten(), basis, document)
        document["sweep"] = asdict(found)
        _write(bench, document)
        kept = len(found.recipe.in_float)
        bench.say(
            f"int8: {found.recipe.method} ranges, {kept} of {len(found.layers)} layers in float"
        )
    return _recipe(document["sweep"]["recipe"])


def lowering_of(
    bench: Workbench, recipe: Recipe | None, *, quick: bool = False, full: bool = False
) -> Lowering:
    """Return how a graph of the run is brought to the run's precision.

    Args:
        bench: The run's parts.
        recipe: Of int8; None in other precisions.
        quick: For timing alone.
        full: With all calibration pictures, for what ships.
    """
    precision = bench.run.config.precision
    if precision != INT8 or recipe is None:
        return Lowering(precision)
    images = calibration_images(bench, None if full else 1 if quick else FEW_PICTURES)
    return Lowering(precision, images, recipe, quick=quick, quiet=not full)


def calibration_images(bench: Workbench, most: int | None = None) -> list[Image]:
    """Return inputs (1, 3, H, W) of calibration pictures."""
    count = len(bench.calibration.pixels)
    return [
        bench.calibration.images(index, index + 1).numpy()
        for index in range(min(count, most or count))
    ]


def refuse_if_slower(bench: Workbench, exact: bytes, lower: Lowering) -> None:
    """Stop a run whose precision is not faster here than float32.

    Args:
        bench: The run's parts.
        exact: The unpruned network as it would ship in float32.
        lower: Brings it to the run's precision.

    Raises:
        EdgeError: If it is slower, or as fast as far as can be told; with the figure.
    """
    precision = bench.run.config.precision
    document = _document(bench)
    if "speedup" not in document:
        bench.say(f"Timing {precision} and float32 in turn")
        lowered = lower(onnx.load_from_string(exact)).SerializeToString()
        compared = _compared(bench, exact, lowered)
        document["speedup"] = {"ratio": compared.ratio, "interval": list(compared.interval)}
        _write(bench, document)
    ratio, low = float(document["speedup"]["ratio"]), float(document["speedup"]["interval"][0])
    if low <= 1:
        raise EdgeError(
            f"{precision} takes {1 / ratio:.2f} times as long as float32 here, and is less "
            "exact; use --precision float32"
        )


def _compared(bench: Workbench, exact: bytes, lowered: bytes) -> Comparison:
    return compare_opened(
        partial(bench.runner, exact),
        partial(bench.runner, lowered),
        min_rounds=60,
        min_time_s=1.5,
        max_time_s=15.0,
        seed=bench.run.config.seed,
    )


def _basis(bench: Workbench) -> Recipe:
    """Return which type flows faster through the plain network; at a tie, without a sign."""
    bench.say("Timing int8 with and without a sign")
    model = onnx.load_from_string(bench.unpruned_graph)
    images = calibration_images(bench, 1)
    recipes = [
        Recipe(activation=kind, reduce_range=sums_overflow(kind)) for kind in ACTIVATIONS
    ]
    graphs = [
        Lowering(INT8, images, recipe, quick=True)(model).SerializeToString()
        for recipe in recipes
    ]
    unsigned, signed = recipes
    return signed if _compared(bench, *graphs).interval[0] > 1 else unsigned


def _swept(bench: Workbench, rewritten: bytes, basis: Recipe, document: Document) -> Sweep:
    images = calibration_images(bench)
    if len(images) < 2:
        raise EdgeError("int8 needs 2 calibration pictures at least; give more of them")
    errors = document.setdefault("errors", {})

    def note(layer: str, error: float) -> None:
        errors[layer] = error
        _write(bench, document)

    bench.say("Trying layers in int8, one at a time")
    return sweep(
        onnx.load_from_string(rewritten),
        images,
        basis,
        session=replace(bench.session, spinning=False),
        known=dict(errors),
        on_layer=note,
        decoder=bench.card.decoder,
    )


def _settings(bench: Workbench) -> dict[str, object]:
    """Return what a recipe holds for: any size, since layers are as sensitive in another."""
    machine, config = describe_machine(), bench.run.config
    return {
        "precision": config.precision,
        "weights_sha256": bench.detector.weights_sha256,
        "threads": config.threads,
        "rewrites": config.rewrites,
        "calibration_images": config.calibration_images,
        **{name: machine.get(name) for name in ("cpu", "cores_available", "onnxruntime")},
    }


def _write(bench: Workbench, document: Document) -> None:
    write_json(bench.run.file(PRECISION_FILE), document)


def _document(bench: Workbench) -> Document:
    """Return what is known: the file's content if it holds for this run, else a new one.

    Raises:
        EdgeError: If the file is not as it was written.
    """
    path, settings = bench.run.file(PRECISION_FILE), _settings(bench)
    new: Document = {"format": FORMAT, "version": VERSION, "settings": settings}
    if not path.exists():
        return new
    where = f"{PRECISION_FILE} of the run"
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise EdgeError(f"{where} does not hold a precision; remove it to find it again")
    if document.get("version") != VERSION:
        raise EdgeError(f"{where} has version {document.get('version')}; remove it")
    if document.get("settings") != settings:
        return new
    try:
        for part in (document.get("basis"), (document.get("sweep") or {}).get("recipe")):
            if part is not None:
                _recipe(part)
        for error in document.get("errors", {}).values():
            float(error)
        if "speedup" in document:
            float(document["speedup"]["ratio"]), float(document["speedup"]["interval"][0])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise EdgeError(f"{where} lacks or misspells {error}; remove it") from error
    return document


def _recipe(entry: Mapping[str, Any]) -> Recipe:
    if entry["method"] not in METHODS or entry["activation"] not in ACTIVATIONS:
        raise ValueError(f"method '{entry['method']}' or type '{entry['activation']}'")
    return Recipe(
        method=str(entry["method"]),
        activation=str(entry["activation"]),
        reduce_range=entry["reduce_range"] is True,
        in_float=tuple(str(layer) for layer in entry["in_float"]),
    )
