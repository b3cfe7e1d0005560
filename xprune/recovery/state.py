"""What a training that was stopped goes on from: one file of tensors and numbers, no pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from runtime_bench.errors import EdgeError
from runtime_bench.files import write_bytes

FORMAT = "xprune-edge training"
VERSION = "1"

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        step: Steps that were taken.
        elapsed_s: Seconds that were spent, over all runs.
        start_loss: Held-out loss of the network that came in.
        best_loss: Of the best weights so far.
        checks: How often the averaged weights were measured.
    """

    step: int = 0
    elapsed_s: float = 0.0
    start_loss: float = 0.0
    best_loss: float = 0.0
    checks: int = 0


def write_state(
    path: Path, key: str, progress: Progress, tensors: Mapping[str, Tensor]
) -> None:
    """Write a state at once or not at all.

    Args:
        path: The file.
        key: Names what is trained, and on what.
        progress: How far it has come; its numbers are finite.
        tensors: By name.

    Raises:
        EdgeError: If it cannot be written.
    """
    stored = {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()
    }
    numbers = json.dumps(asdict(progress), allow_nan=False)
    metadata = {"format": FORMAT, "version": VERSION, "key": key, "progress": numbers}
    write_bytes(path, save(stored, metadata))


def read_state(
    path: Path, key: str, like: Mapping[str, Tensor]
) -> tuple[Progress, Tensors] | None:
    """Return what `write_state` wrote; None if there is no file, or it is of another training.

    Args:
        path: The file; nothing in it is trusted.
        key: As it was written.
        like: Tensors of the same names, shapes and kinds, as they must be in the file.

    Raises:
        EdgeError: If the file is damaged, or does not hold what its key promises.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
                raise _damaged(path, "it is no state of a training")
            if metadata.get("key") != key:
                return None
            progress = _progress(metadata.get("progress", ""), path)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, " ".join(str(error).split())[:120]) from error
    _check_tensors(tensors, like, path)
    return progress, tensors


def _progress(text: str, path: Path) -> Progress:
    try:
        numbers = json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged(path, "its progress is no JSON") from None
    wanted = {field.name for field in fields(Progress)}
    if not isinstance(numbers, dict) or set(numbers) != wanted:
        raise _damaged(path, "its progress lacks numbers, or has others")
    whole = ("step", "checks")
    for name, value in numbers.items():
        kind = (int,) if name in whole else (int, float)
        # Losses may be below zero; what is counted may not.
        counted = name in whole or name == "elapsed_s"
        if type(value) not in kind or not math.isfinite(value) or (counted and value < 0):
            raise _damaged(path, f"its {name} is no such number")
    return Progress(**numbers)


def _check_tensors(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], path: Path
) -> None:
    if set(tensors) != set(like):
        odd = sorted(set(tensors) ^ set(like))[0]
        raise _damaged(path, f"it lacks {odd[:80]}, or should not have it")
    for name, wanted in like.items():
        found = tensors[name]
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise _damaged(path, f"{name} is of another kind")
        if found.is_floating_point() and not bool(torch.isfinite(found).all()):
            raise _damaged(path, f"{name} has values that are not finite")


def _damaged(path: Path, reason: str) -> EdgeError:
    return EdgeError(
        f"{path} cannot be gone on from ({reason}); remove it to have the recovery begin again"
    )
