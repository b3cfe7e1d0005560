"""Our own file of a detector: its tensors, and in the header all that rebuilds the network.

safetensors holds no code. The header's metadata are texts; those with structure are JSON:
format, version, architecture, names, plan, licence, imgsz ([height, width] or null) and extra.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from runtime_bench.errors import EdgeError
from runtime_bench.files import write_bytes
from xprune.models.detector import Detector
from xprune.models.families import check_architecture
from xprune.models.files.weights import read_names

FORMAT = "xprune-edge checkpoint"
VERSION = "1"
KEYS = ("format", "version", "architecture", "names", "plan", "licence", "imgsz")
OPTIONAL_KEYS = ("extra",)
MAX_SIDE = 8192


@dataclass(frozen=True)
class Checkpoint:
    """The checked content of a checkpoint.

    Attributes:
        architecture: Of the unpruned network, checked.
        names: The class names.
        plan: The substitutes, in the words of `xprune.pruning`; empty when unpruned.
        state: Tensors by name, in the precision of the file.
        licence: Of the weights, as an SPDX identifier.
        imgsz: The input (height, width) in pixels that it was pruned for; None when unknown.
        extra: What the writer wanted to keep with it; JSON.
    """

    architecture: dict[str, Any]
    names: tuple[str, ...]
    plan: list[dict[str, Any]]
    state: dict[str, Tensor]
    licence: str
    imgsz: tuple[int, int] | None
    extra: dict[str, Any]


def save_checkpoint(
    path: Path,
    detector: Detector,
    extra: Mapping[str, Any] | None = None,
    *,
    imgsz: tuple[int, int] | None = None,
    half: bool = False,
) -> None:
    """Write a detector, pruned or not, to `path` at once or not at all.

    Args:
        path: Ends in ".safetensors".
        detector: What to write; its plan goes with it.
        extra: More to keep with it, as JSON; nothing in it is needed for rebuilding.
        imgsz: The input (height, width) in pixels that it was made for.
        half: Store the numbers in 16 bits, half the size.

    Raises:
        EdgeError: If the file cannot be written.
    """
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": json.dumps(detector.architecture),
        "names": json.dumps(detector.names),
        "plan": json.dumps(detector.plan),
        "licence": detector.licence,
        "imgsz": json.dumps(imgsz),
        "extra": json.dumps(dict(extra or {})),
    }
    tensors = detector.network.state_dict()
    state = {name: _stored(tensor, half=half) for name, tensor in tensors.items()}
    lost = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if lost:
        raise EdgeError(
            f"{path} is not written, since values of {lost[0]} are not finite"
            f"{' in 16 bits' if half else ''}; check the training{' or keep 32 bits' * half}"
        )
    write_bytes(path, save(state, metadata))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and check a checkpoint of this program; nothing in it is trusted.

    Raises:
        EdgeError: If the file is missing, damaged, of another program, or of a newer version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") != FORMAT:
                raise EdgeError(
                    f"{path} holds tensors, but is no checkpoint of xprune-edge;"
                    " give a file that 'prune' wrote, or Ultralytics' .pt weights"
                )
            parts = _check_metadata(metadata, path)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise EdgeError(f"there is no file {path}; check the path") from None
    except (SafetensorError, OSError) as error:
        raise EdgeError(
            f"{path} cannot be read as a checkpoint ({_first_line(error)});"
            " it is damaged or of another kind: write or copy it anew"
        ) from error
    return Checkpoint(state=state, **parts)


def _stored(tensor: Tensor, *, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor


def _check_metadata(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    version = metadata.get("version")
    if version != VERSION:
        raise EdgeError(
            f"{path} is a checkpoint of version {str(version)[:20]}; this program reads version"
            f" {VERSION}: use the xprune-edge that wrote it, or a newer one"
        )
    missing = [key for key in KEYS if key not in metadata]
    unknown = [key[:40] for key in metadata if key not in KEYS + OPTIONAL_KEYS]
    if missing or unknown:
        fault = "lacks" if missing else "has unknown"
        keys = ", ".join(missing or unknown)
        raise EdgeError(f"the header of {path} {fault} {keys}; write the checkpoint anew")
    architecture = check_architecture(_json(metadata, "architecture", path), where=str(path))
    names = read_names(_json(metadata, "names", path), where=str(path))
    plan = _json(metadata, "plan", path)
    extra = _json(metadata, "extra", path) if "extra" in metadata else {}
    if not isinstance(plan, list) or not all(isinstance(step, dict) for step in plan):
        raise EdgeError(f"the plan in {path} is no list of steps; write the checkpoint anew")
    if not isinstance(extra, dict):
        raise EdgeError(f"'extra' in {path} is no dictionary; write the checkpoint anew")
    return {
        "architecture": architecture,
        "names": names or (),
        "plan": plan,
        "licence": metadata["licence"][:200],
        "imgsz": _check_imgsz(_json(metadata, "imgsz", path), path),
        "extra": extra,
    }


def _check_imgsz(raw: object, path: Path) -> tuple[int, int] | None:
    if raw is None:
        return None
    sides = raw if isinstance(raw, list) else []
    if len(sides) != 2 or not all(type(s) is int and 0 < s <= MAX_SIDE for s in sides):
        raise EdgeError(f"imgsz in {path} is not [height, width]; write the checkpoint anew")
    return sides[0], sides[1]


def _json(metadata: Mapping[str, str], key: str, path: Path) -> Any:
    try:
        return json.loads(metadata[key], parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise EdgeError(f"'{key}' in {path} is no JSON; write the checkpoint anew") from None


def _refuse_constant(word: str) -> float:
    raise ValueError(word)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
