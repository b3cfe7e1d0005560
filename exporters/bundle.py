"""Write an artifact: export, simplify, rewrite, compare, and only then `model.onnx`.

Everything is made and checked in memory, and the folder appears whole or not at all.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
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
from exporters.stored_pictures import store_pictures
from runtime_bench.artifact.manifest import (
    MODEL_FILE,
    InputSpec,
    Manifest,
    OutputSpec,
    file_entry,
    write_manifest,
)
from runtime_bench.errors import EdgeError
from runtime_bench.files import atomic_folder, write_bytes

MIN_SCORE = 0.001
IOU = 0.7
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
    iou: float = IOU,
    rewrites: Iterable[str] = (),
    provenance: Mapping[str, object] | None = None,
    lowering: Lowering | None = None,
) -> Manifest:
    """Export `module`, check it against PyTorch, and write the artifact to `folder`.

    Args:
        module: Maps (1, 3, height, width) in [0, 1] to (1, 4 + classes, anchors).
        folder: Where the artifact goes; an artifact that is there already is replaced.
        card: What the manifest says of the model.
        size: Height and width of the input in pixels.
        raw: Whether to ship the raw head; else the graph ends with NMS.
        pictures: Real ones, (H, W, 3) RGB, to compare on besides blank and noisy inputs.
        stored: Pictures that go with it, made smaller: what to time it on without others.
        min_score: Detections below it are left out.
        iou: The overlap beyond which the lesser of two boxes of a class is left out.
        rewrites: Keys of `exporters.rewrites.REWRITES` to run: none changes a detection.
        provenance: What the manifest is to say of how the network was made.
        lowering: The precision that ships; None for float32. The float graph is compared with
            PyTorch, and the one in fewer bits with the float graph.

    Raises:
        EdgeError: If the size does not fit the network, the module cannot be exported, the
            graph differs from the module, or the folder cannot be written.
    """
    input_spec = InputSpec(size=check_size(size, stride=card.stride))
    probes = make_probes(pictures, input_spec)
    graph, model, output, parity = _finish(
        build_graph(module, size=size, probes=probes),
        tuple(rewrites),
        reference=_answers(module, probes, torch.float32),
        exact=_answers(module, probes, torch.float64),
        probes=probes,
        card=card,
        raw=raw,
        limits=OutputSpec(min_score=min_score, iou=iou, max_boxes=MAX_BOXES),
    )
    lowering, how = lowering or Lowering(), _how(graph)
    if lowering.precision != FLOAT32:
        lowered, facts = lowering.lowered(graph.model)
        exact, model = model, _to_bytes(lowered, card, size=size, raw=raw)
        compared = probes | _calibration_probes(lowering)
        parity |= {"precision": check_agreement(exact, model, compared, output=output)}
        how |= {"precision": facts}
    made = {"provenance": {**(provenance or {}), "export": how}}
    said = {"input": input_spec, "output": output, "parity": parity, **made}
    return _write(folder, model, card, stored, {**said, "precision": lowering.precision})


def _write(
    folder: Path,
    model: bytes,
    card: ModelCard,
    stored: Sequence[NDArray[np.uint8]],
    said: Mapping[str, Any],
) -> Manifest:
    """Write an artifact, and return its manifest."""
    with atomic_folder(folder) as partial:
        write_bytes(partial / MODEL_FILE, model)
        pictures = store_pictures(partial, stored)
        manifest = Manifest(
            model_name=card.model_name,
            family=card.family,
            licence=card.licence,
            names=card.names,
            stride=card.stride,
            files={name: file_entry(partial / name) for name in (MODEL_FILE, *pictures)},
            display_score=card.display_score,
            pictures=pictures,
            **said,
        )
        write_manifest(partial, manifest)
    return manifest


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


def _answers(
    module: nn.Module, probes: Mapping[str, Image], dtype: torch.dtype
) -> dict[str, NDArray[Any]]:
    """Return (4 + classes, anchors) of the PyTorch model for each probe, in one precision."""
    network = copy.deepcopy(module).eval().to(dtype)  # a head keeps what it made for one size
    with torch.no_grad():
        return {
            name: network(torch.from_numpy(image).to(dtype))[0].numpy()
            for name, image in probes.items()
        }


def _finish(
    built: Graph,
    rewrites: tuple[str, ...],
    *,
    reference: Mapping[str, NDArray[Any]],
    exact: Mapping[str, NDArray[Any]],
    probes: Mapping[str, Image],
    card: ModelCard,
    raw: bool,
    limits: OutputSpec,
) -> tuple[Graph, bytes, OutputSpec, dict[str, object]]:
    """Return what ships, its bytes, what it answers with, and the figures of its check."""
    size = probes["blank"].shape[2:]
    rows = built.model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    if rows != 4 + len(card.names):
        raise EdgeError(
            f"the model has {len(card.names)} class names, but the network scores {rows - 4} "
            "classes; give the names that it was trained with"
        )
    raw_output = replace(
        limits, kind="raw", names=(built.model.graph.output[0].name,), decoder=card.decoder
    )
    graph = rewritten(built, rewrites)
    content = _to_bytes(graph.model, card, size=size, raw=True)
    parity = check_parity(content, reference, probes, output=raw_output, exact=exact)
    if raw:
        return graph, content, raw_output, parity
    graph = finish_graph(
        built,
        decoder=card.decoder,
        names_count=len(card.names),
        limits=limits,
        rewrites=rewrites,
    )
    content = _to_bytes(graph.model, card, size=size, raw=False)
    detections = check_parity(content, reference, probes, output=limits, decoder=card.decoder)
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
