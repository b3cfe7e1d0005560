"""What a weights file holds, whatever its format: tensors, and what it says of its network."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from runtime_bench.errors import EdgeError
from xprune.models.files.inert_pickle import Inert, read_torch_file
from xprune.models.files.older_files import renamed

SHOWN_KEYS = 3
MAX_MODULES = 50_000
MAX_NAME = 200
PARALLEL = "module."
COUNTED = "num_batches_tracked"


@dataclass(frozen=True)
class Weights:
    """The content of a weights file.

    Attributes:
        path: Where it was read.
        state: Tensors by name, as in the file.
        architecture: A dictionary or the name of a known architecture; not checked yet; None
            when the file does not say.
        names: The class names; None when the file does not say.
        plan: The substitutes that stand in a pruned network.
        licence: None when the file does not say.
        imgsz: The input (height, width) in pixels that it was made for; None when unknown.
    """

    path: Path
    state: dict[str, Tensor]
    architecture: object = None
    names: tuple[str, ...] | None = None
    plan: tuple[dict[str, Any], ...] = ()
    licence: str | None = None
    imgsz: tuple[int, int] | None = None


def read_pytorch_weights(path: Path) -> Weights:
    """Read an Ultralytics checkpoint or a state dict, without running anything in it.

    Raises:
        EdgeError: If the file cannot be read, or holds neither.
    """
    content = read_torch_file(path)
    if isinstance(content, dict):
        for key in ("ema", "model"):
            if isinstance(content.get(key), Inert):
                return _from_module(path, content[key])
        if isinstance(content.get("state_dict"), dict):
            names = read_names(content.get("names"), where=str(path))
            state = _tensors(content["state_dict"], path)
            return Weights(path, state, content.get("architecture"), names)
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return Weights(path, _tensors(content, path))
    if isinstance(content, Inert):
        return _from_module(path, content)
    raise EdgeError(
        f"{path} holds neither an Ultralytics checkpoint nor a state dict of tensors;"
        " give yolov8n.pt or the like, or the result of torch.save(model.state_dict())"
    )


def read_names(raw: object, *, where: str) -> tuple[str, ...] | None:
    """Return class names from a list, or from Ultralytics' dictionary {0: name, 1: name}.

    Raises:
        EdgeError: If they are not strings, or not numbered 0, 1, 2 and so on.
    """
    if raw is None:
        return None
    if isinstance(raw, dict):
        if any(index not in raw for index in range(len(raw))):
            raise EdgeError(
                f"{where}: its class names are not numbered 0 to {len(raw) - 1};"
                " correct them, or name the classes yourself"
            )
        raw = [raw[index] for index in range(len(raw))]
    if not isinstance(raw, (list, tuple)) or not all(_is_name(name) for name in raw):
        raise EdgeError(
            f"{where}: its class names are not a list of texts of 1 to {MAX_NAME} characters;"
            " correct them, or name the classes yourself"
        )
    return tuple(raw)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()


def fill(network: nn.Module, weights: Weights) -> None:
    """Copy the tensors into the network, every one of them, in the network's own precision.

    A network whose batch norms were fused into its convolutions fits too: its biases go into
    batch norms that change nothing else. So do the older names of torchvision's layers.

    Raises:
        EdgeError: If a name is missing, unknown, or of another shape, or a value not finite.
    """
    wanted = network.state_dict()
    state = renamed(_unfuse(weights.state, network), wanted)
    # Files of before PyTorch 0.4.1 have no such counts, which nothing is computed from.
    state |= {n: wanted[n] for n in wanted if n.endswith(COUNTED) and n not in state}
    _check_fit(wanted, state, weights.path)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise EdgeError(
                f"{weights.path}: {name} has values that are not finite;"
                " the training went wrong or the file is damaged"
            )
    network.load_state_dict(state)


def _from_module(path: Path, module: Inert) -> Weights:
    kind = type(module).__name__
    architecture = getattr(module, "yaml", None)
    if not isinstance(architecture, dict):
        raise EdgeError(
            f"{path} holds a {kind}, not an Ultralytics detection model;"
            " give its state dict together with --model YAML"
        )
    names = read_names(getattr(module, "names", None), where=str(path))
    return Weights(path, _collect(module, path), architecture, names)


def _collect(root: Inert, path: Path) -> dict[str, Tensor]:
    """Return the state dict of an unpickled module, as `nn.Module.state_dict` would."""
    state: dict[str, Tensor] = {}
    waiting: list[tuple[str, Inert]] = [("", root)]
    for _ in range(MAX_MODULES):
        if not waiting:
            return state
        prefix, module = waiting.pop()
        fleeting = getattr(module, "_non_persistent_buffers_set", None)
        skipped = fleeting if isinstance(fleeting, set) else set()
        for name, value in _items(module, "_parameters") + _items(module, "_buffers"):
            if isinstance(value, Tensor) and name not in skipped:
                state[f"{prefix}{name}"] = value
        for name, child in _items(module, "_modules"):
            if isinstance(child, Inert):
                waiting.append((f"{prefix}{name}.", child))
    raise EdgeError(f"{path} holds more than {MAX_MODULES} modules; it is no detector")


def _items(module: Inert, kind: str) -> list[tuple[str, object]]:
    table = getattr(module, kind, None)
    found = table.items() if isinstance(table, dict) else ()
    return [(name, value) for name, value in found if isinstance(name, str)]


def _tensors(raw: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    wrong = [k for k, v in raw.items() if not (isinstance(k, str) and isinstance(v, Tensor))]
    if wrong:
        raise EdgeError(
            f"{path}: {reprlib.repr(wrong[0])} in its state dict is no tensor;"
            " save model.state_dict() as it is"
        )
    # What several GPUs trained is called so by PyTorch's `DataParallel`.
    if raw and all(key.startswith(PARALLEL) for key in raw):
        return {key.removeprefix(PARALLEL): value for key, value in raw.items()}
    return dict(raw)


def _unfuse(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    result = dict(state)
    for name, module in network.named_modules():
        norm, conv = getattr(module, "bn", None), getattr(module, "conv", None)
        bias = f"{name}.conv.bias"
        if not isinstance(norm, nn.BatchNorm2d) or not isinstance(conv, nn.Conv2d):
            continue
        if bias not in state or conv.bias is not None or f"{name}.bn.weight" in state:
            continue
        one = torch.ones_like(state[bias], dtype=torch.float32)
        neutral = {
            "weight": torch.sqrt(one + norm.eps),
            "bias": result.pop(bias),
            "running_mean": torch.zeros_like(one),
            "running_var": one,
            "num_batches_tracked": torch.tensor(0),
        }
        result.update({f"{name}.bn.{key}": value for key, value in neutral.items()})
    return result


def _check_fit(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], path: Path) -> None:
    missing = [name for name in wanted if name not in state]
    unknown = [name for name in state if name not in wanted]
    differing = [
        f"{name} {_kind(state[name])} instead of {_kind(tensor)}"
        for name, tensor in wanted.items()
        if name in state and not _fits(state[name], tensor)
    ]
    faults = {"missing": missing, "unknown": unknown, "of another kind": differing}
    told = [
        f"{len(names)} {fault} ({_first_of(names)})" for fault, names in faults.items() if names
    ]
    if told:
        raise EdgeError(
            f"{path} does not fit the architecture: {'; '.join(told)};"
            " give the architecture (--model) and the class names that they were trained with"
        )


def _first_of(names: list[str]) -> str:
    return ", ".join([*names[:SHOWN_KEYS], *["…"][: len(names) - SHOWN_KEYS]])


def _fits(given: Tensor, wanted: Tensor) -> bool:
    # Whole numbers in place of weights are quantised ones, whose scale is not known here.
    quantised = wanted.is_floating_point() and not given.is_floating_point()
    return given.shape == wanted.shape and not quantised


def _kind(tensor: Tensor) -> str:
    return f"{'real' if tensor.is_floating_point() else 'whole'} {tuple(tensor.shape)}"
