"""Write an artifact: export, simplify, rewrite, compare, and only then `model.onnx`.

Everything is made and checked in memory, and the folder appears whole or not at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from exporters.card import ModelCard
from exporters.graph import Graph, build_graph, finish_graph, rewritten
from exporters.metadata import package_version, write_metadata
from exporters.onnx_export import EXPORTER, OPSET
from exporters.parity import check_parity
from exporters.precision.agreement import check_agreement
from exporters.precision.lower import FLOAT32, Lowering
from exporters.probes import Image, make_probes
from exporters.raw_layout import classes_of
from exporters.reference import Reference
from exporters.stored_pictures import store_pictures
from runtime_bench.artifact.manifest import (
    MODEL_FILE,
    Manifest,
    OutputSpec,
    file_entry,
    write_manifest,
)
from runtime_bench.errors import EdgeError
from runtime_bench.files import atomic_folder, write_bytes

MIN_SCORE = 0.001
MAX_BOXES = 300
# Calibration pictures on which a graph in fewer bits is compared with the float graph.
COMPARED = 32
_PACKAGES = ("torch", "onnx", "onnxscript", "onnxsim", "onnxslim", "onnxruntime", "xprune-edge")


def build_artifact(
    module: nn.Module,
    *,
    folder: Path,
    card: ModelCard,
    size: tuple[int, int],
    raw: bool = False,
    pictures: Sequence[NDArray[np.uint8]] = (),
    stored: Sequence[NDArray[np.uint8]] = (),
    min_score: float = MIN_SCORE,
    iou: float | None = None,
    rewrites: Iterable[str] = (),
    provenance: Mapping[str, object] | None = None,
    lowering: Lowering | None = None,
) -> Manifest:
    """Export `module`, check it against PyTorch, and write the artifact to `folder`.

    Args:
        module: Maps (1, 3, height, width) to what the card's decoder reads, or to scores
            (1, classes); one of two stages also says `at_regions` what it sees elsewhere.
        folder: Where the artifact goes; an artifact that is there already is replaced.
        card: What the manifest says of the model.
        size: Height and width of the input in pixels.
        raw: Whether a detector ships its raw head, and not NMS.
        pictures: Real ones, (H, W, 3) RGB, to compare on besides blank and noisy inputs.
        stored: Pictures that go with it, made smaller: what to time it on without others.
        min_score: Detections below it are left out.
        iou: In place of the card's `nms_iou`.
        rewrites: Keys of `exporters.rewrites.REWRITES` to run: none changes a detection.
        provenance: What the manifest is to say of how the network was made.
        lowering: The precision that ships, compared with the float graph; None for float32.

    Raises:
        EdgeError: If the size does not fit the network, the module cannot be exported, the
            graph differs from the module, or the folder cannot be written.
    """
    check_size(size, stride=card.stride)
    probes = make_probes(pictures, card.preprocessing.at(size))
    graph, model, output, parity = _finish(
        build_graph(module, size=size, probes=probes, output_name=card.output_name),
        tuple(rewrites),
        reference=Reference(module, probes),
        probes=probes,
        card=card,
        raw=raw,
        limits=OutputSpec(min_score=min_score, iou=iou or card.nms_iou, max_boxes=MAX_BOXES),
    )
    lowering, how = lowering or Lowering(), _how(graph)
    if lowering.precision != FLOAT32:
        lowered, how["precision"] = lowering.lowered(graph.model)
        exact, model = model, _to_bytes(lowered, card, size=size, raw=raw)
        seen = probes | _calibration_probes(lowering)
        parity["precision"] = check_agreement(exact, model, seen, output=output)
    manifest = replace(
        card.manifest(size, output),
        parity=parity,
        provenance={**(provenance or {}), "export": how},
        precision=lowering.precision,
    )
    return _write(folder, model, manifest, stored)


def _write(
    folder: Path, model: bytes, manifest: Manifest, stored: Sequence[NDArray[np.uint8]]
) -> Manifest:
    """Write an artifact, and return its manifest: what is known of it, with its files."""
    with atomic_folder(folder) as partial:
        write_bytes(partial / MODEL_FILE, model)
        pictures = store_pictures(partial, stored)
        files = {name: file_entry(partial / name) for name in (MODEL_FILE, *pictures)}
        written = replace(manifest, files=files, pictures=pictures)
        write_manifest(partial, written)
    return written


def _calibration_probes(lowering: Lowering) -> dict[str, Image]:
    """Return some of the inputs that a precision was calibrated on, by name."""
    few = lowering.images[:COMPARED]
    return {f"calibration {index}": image for index, image in enumerate(few, 1)}


def check_size(size: tuple[int, int], *, stride: int) -> tuple[int, int]:
    """Return `size` (height, width) if the network can take it.

    Raises:
        EdgeError: If a side is not a positive multiple of the stride.
    """
    if any(side <= 0 or side % stride for side in size):
        nearest = "x".join(str(max(1, round(side / stride)) * stride) for side in size)
        raise EdgeError(
            f"input size {size[0]}x{size[1]} is not a multiple of the network's stride "
            f"{stride}; use {nearest} (height x width)"
        )
    return size


def _finish(
    built: Graph,
    rewrites: tuple[str, ...],
    *,
    reference: Reference,
    probes: Mapping[str, Image],
    card: ModelCard,
    raw: bool,
    limits: OutputSpec,
) -> tuple[Graph, bytes, OutputSpec, dict[str, object]]:
    """Return what ships, its bytes, what it answers with, and the figures of its check."""
    size = probes["blank"].shape[2:]
    rows = built.model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    if rows != card.rows:
        scored = classes_of(card.decoder, rows) if card.task == "detect" else rows
        raise EdgeError(
            f"the model has {len(card.names)} class names, but the network scores {scored} "
            "classes; give the names that it was trained with"
        )
    raw_output = card.raw_output(limits)
    graph = rewritten(built, rewrites)
    content = _to_bytes(graph.model, card, size=size, raw=True)
    wanted, exact, figures = reference.beside(content, card.output_name)
    parity = figures | check_parity(
        content, wanted, probes, output=raw_output, decoder=card.decoder, exact=exact
    )
    if raw or card.task == "classify":
        return graph, content, raw_output, parity
    graph = finish_graph(built, card=card, limits=limits, rewrites=rewrites)
    content = _to_bytes(graph.model, card, size=size, raw=False)
    wanted, _, _ = reference.beside(content, card.output_name)
    detections = check_parity(content, wanted, probes, output=limits, decoder=card.decoder)
    return graph, content, limits, {**parity, **detections}


def _to_bytes(
    model: onnx.ModelProto, card: ModelCard, *, size: tuple[int, int], raw: bool
) -> bytes:
    write_metadata(model, card, size=size, raw=raw)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _how(graph: Graph) -> dict[str, object]:
    return {
        "exporter": EXPORTER,
        "opset": OPSET,
        "ir_version": graph.model.ir_version,
        "simplifier": graph.simplifier,
        "rewrites": graph.rewrites,
        "versions": {name: package_version(name) for name in _PACKAGES},
    }
