"""From what a person writes after --model to a detector that is ready for use."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import sha256_of
from xprune.models.detector import Detector
from xprune.models.families import (
    MODELS,
    check_architecture,
    family_of,
    find_architecture,
)
from xprune.models.family import Family
from xprune.models.files.checkpoint import read_checkpoint
from xprune.models.files.hub import DEFAULT, check_name, default_weights
from xprune.models.files.older_files import NO_EPSILON, drop_epsilon
from xprune.models.files.weights import Weights, fill, read_pytorch_weights
from xprune.models.torchvision.classifier import NAMES as CLASSIFIERS
from xprune.models.torchvision.one_stage import NAMES as ONE_STAGE
from xprune.models.torchvision.ssd import NAMES as SSDS
from xprune.models.torchvision.two_stage import NAMES as TWO_STAGE
from xprune.models.ultralytics.catalogue import read_yaml
from xprune.models.ultralytics.yolo import BUILD_ERRORS

BUILTIN = "builtin"
NO_WEIGHTS = "none"
BUILTIN_WEIGHTS = Path(__file__).parent.parent / "builtin" / "detector.safetensors"
YAML_SUFFIXES = (".yaml", ".yml")
OTHER_FORMATS = {
    ".onnx": "ONNX",
    ".engine": "TensorRT",
    ".tflite": "TFLite",
    ".torchscript": "TorchScript",
    ".mlpackage": "Core ML",
    ".bin": "OpenVINO",
    ".xml": "OpenVINO",
}

Rebuild = Callable[[nn.Module, list[dict[str, Any]]], nn.Module]
Names = tuple[str, ...]


def load_detector(
    model: str,
    *,
    weights: str | None = None,
    names: Names | None = None,
    names_if_missing: Callable[[], Names | None] = lambda: None,
    seed: int = 0,
    rebuild: Rebuild | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Detector:
    """Load a model; nothing that a file brings is run, and nothing is downloaded unasked.

    Args:
        model: A known name ("yolov8n", "resnet18"), a YAML of an architecture, a weights file
            (Ultralytics' .pt, a state dict, our .safetensors), or "builtin".
        weights: For a name or a YAML: a weights file, "none" for random weights, or "DEFAULT"
            for torchvision's own, from the cache of its hub or else downloaded.
        names: The class names, when the file does not hold them or holds others.
        names_if_missing: Called for them where there are none; random weights get as many.
        seed: Of random weights.
        rebuild: Puts the substitutes of a plan into a network (structure only); the default is
            that of `xprune.layers.surgery`.
        say: Tells a person, in one line, where weights come from that no path names.

    Raises:
        UsageError: If `model` and `weights` do not go together.
        EdgeError: If a file is missing, unreadable, not allowed, or does not fit.
    """

    def known(found: Names | None) -> Names | None:
        return names or found or names_if_missing()

    if model != BUILTIN and _is_architecture(model):
        if weights == DEFAULT:
            weights = str(default_weights(model, say))
        return _from_architecture(model, weights, known, seed=seed, rebuild=rebuild)
    if weights is not None:
        raise UsageError(
            f"--model {model} brings its own weights; leave --weights out, or give --model"
            " the name or YAML of an architecture"
        )
    path = BUILTIN_WEIGHTS if model == BUILTIN else Path(model)
    content = _read_weights(path)
    detector = _from_weights(content, known(content.names), rebuild=rebuild)
    return replace(detector, name=BUILTIN if model == BUILTIN else path.stem)


def _from_architecture(
    model: str,
    weights: str | None,
    known: Callable[[Names | None], Names | None],
    *,
    seed: int,
    rebuild: Rebuild | None,
) -> Detector:
    if weights is None:
        raise UsageError(
            f"--model {model} is an architecture without weights, and nothing is downloaded"
            " unasked; add --weights PATH, or --weights none for random ones"
        )
    path = Path(model)
    raw = read_yaml(path) if path.is_file() else find_architecture(model)
    architecture = check_architecture(raw, where=model)
    family = MODELS[family_of(architecture)]
    name = path.stem if path.suffix in YAML_SUFFIXES else model
    if weights == NO_WEIGHTS:
        return _random(architecture, known(None), name=name, seed=seed)
    content = _read_weights(Path(weights))
    if content.plan:
        raise UsageError(
            f"{weights} is a pruned checkpoint and brings its own architecture;"
            f" give it as --model {weights}"
        )
    trained = family.classes_in(content.state)
    architecture["nc"] = trained or architecture["nc"]
    classes = known(content.names or family.class_names(architecture))
    if classes and trained is None:
        architecture["nc"] = len(classes)
    content = replace(content, architecture=architecture)
    return replace(_from_weights(content, classes, rebuild=rebuild), name=name)


def _is_architecture(model: str) -> bool:
    path = Path(model)
    if path.is_file():
        return path.suffix in YAML_SUFFIXES
    if find_architecture(model) is None:
        raise EdgeError(_not_found(model))
    return True


def _not_found(model: str) -> str:
    if Path(model).is_dir():
        return f"{model} is a folder; give the weights file in it"
    if Path(model).suffix:
        return (
            f"there is no file {model}, and nothing is downloaded; get the weights yourself and"
            " give their path, or give the name of an architecture with --weights none"
        )
    return (
        f"no model is called '{model}'; there are builtin, yolov8n/s/m/l/x, yolo11n/s/m/l/x and"
        " the other YOLO detectors of Ultralytics, the detectors "
        f"{', '.join((*ONE_STAGE, *TWO_STAGE, *SSDS))}, the classifiers "
        f"{', '.join(CLASSIFIERS)};"
        " or give a path to a YAML or weights file"
    )


def _read_weights(path: Path) -> Weights:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise EdgeError(_not_found(str(path)))
    if suffix == ".safetensors":
        kept = read_checkpoint(path)
        return Weights(
            path,
            kept.state,
            kept.architecture,
            kept.names,
            tuple(kept.plan),
            kept.licence,
            kept.imgsz,
        )
    if suffix in (".pt", ".pth", ".th"):
        check_name(path)
        return read_pytorch_weights(path)
    if suffix in OTHER_FORMATS:
        raise EdgeError(
            f"{path} is {OTHER_FORMATS[suffix]}, an exported model, which cannot be pruned;"
            " give the PyTorch weights that it was exported from"
        )
    raise EdgeError(
        f"{path} ends in '{suffix}'; models are .yaml, .pt, .pth or .safetensors files"
    )


def _from_weights(
    content: Weights, names: tuple[str, ...] | None, *, rebuild: Rebuild | None
) -> Detector:
    raw = content.architecture
    if raw is None:
        raise EdgeError(
            f"{content.path} holds tensors only; name the architecture: --model yolov8n"
            f" (or a YAML) --weights {content.path}"
        )
    if isinstance(raw, str):
        raw = _architecture_called(raw, content.path)
    architecture = check_architecture(raw, where=str(content.path))
    classes = _names(architecture, names or content.names, where=str(content.path))
    family = MODELS[family_of(architecture)]
    network = family.build_network(architecture)
    if content.plan:
        network = _rebuilt(network, content, rebuild).eval().requires_grad_(False)
    fill(network, content)
    digest = sha256_of(content.path)
    if digest.startswith(NO_EPSILON):
        drop_epsilon(network)
    detector = _detector(network, architecture, classes)
    return replace(
        detector,
        licence=content.licence or family.licence,
        weights_sha256=digest,
        imgsz=content.imgsz,
        plan=content.plan,
    )


def _architecture_called(name: str, where: Path) -> Any:
    found = find_architecture(name)
    if found is None:
        raise EdgeError(
            f"{where} says that it is of '{name[:60]}', and no architecture is called that;"
            " give the name of another one, or a YAML"
        )
    return found


def _rebuilt(network: nn.Module, content: Weights, rebuild: Rebuild | None) -> nn.Module:
    from xprune.layers.surgery import apply_plan, replacements_from_json

    steps = [copy.deepcopy(step) for step in content.plan]
    try:
        if rebuild is None:
            return apply_plan(network, replacements_from_json(steps))
        return rebuild(network, steps)
    except (*BUILD_ERRORS, StopIteration) as error:
        raise EdgeError(
            f"the plan in {content.path} does not fit its network; write the checkpoint anew"
        ) from error


def _random(
    architecture: dict[str, Any], names: tuple[str, ...] | None, *, name: str, seed: int
) -> Detector:
    if names:
        architecture["nc"] = len(names)
    family = MODELS[family_of(architecture)]
    network = family.build_network(architecture, seed=seed)
    classes = _names(architecture, names or family.class_names(architecture), where=name)
    return replace(_detector(network, architecture, classes), name=name)


def _names(
    architecture: dict[str, Any], names: tuple[str, ...] | None, *, where: str
) -> tuple[str, ...]:
    count = architecture["nc"]
    if names is None:
        return tuple(str(index) for index in range(count))
    if len(names) != count:
        raise EdgeError(
            f"{where} was trained for {count} classes, but {len(names)} names are given;"
            " give the names that belong to these weights"
        )
    return names


def _detector(
    network: nn.Module, architecture: dict[str, Any], names: tuple[str, ...]
) -> Detector:
    name = family_of(architecture)
    family: Family = MODELS[name]
    return Detector(
        network=network,
        name="",
        family=name,
        names=names,
        stride=family.network_stride(network),
        architecture=architecture,
        licence=family.licence,
        weights_sha256=None,
        task=family.task,
        preprocessing=family.preprocessing(architecture),
    )
