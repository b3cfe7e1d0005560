"""Which YOLO architectures may be built: everything in the dictionary is checked by name.

Ultralytics turns the words of a YAML into classes, and its `activation` into code (`eval`).
So only words that are listed here reach it, whether from a YAML, a pickle or a checkpoint.
"""

import ast
import math
import reprlib
from collections.abc import Callable
from typing import Any

from runtime_bench.errors import EdgeError

Architecture = dict[str, Any]

MAX_LAYERS = 200
MAX_CLASSES = 10_000
MAX_REPEATS = 100
MAX_ARGUMENTS = 8
MAX_CHANNELS = 4096
MAX_MULTIPLE = 4.0
MAX_REG_MAX = 64

MODULES = frozenset(
    """
    A2C2f AConv ADown Bottleneck BottleneckCSP C1 C2 C2PSA C2f C2fCIB C2fPSA C3 C3Ghost C3k2 C3x
    CBFuse CBLinear Concat Conv ConvTranspose DWConv DWConvTranspose2d Detect ELAN1 Focus
    GhostBottleneck GhostConv PSA RepC3 RepConv RepNCSPELAN4 SCDown SPP SPPELAN SPPF
    nn.BatchNorm2d nn.Conv2d nn.ConvTranspose2d nn.Identity nn.MaxPool2d nn.Upsample
    nn.ZeroPad2d
    """.split()  # noqa: SIM905 - one name a line would take a page
)
OTHER_HEADS = {
    "Classify": "it classifies whole pictures",
    "Depth": "it estimates depth",
    "OBB": "its boxes are rotated",
    "OBB26": "its boxes are rotated",
    "Pose": "it finds key points",
    "Pose26": "it finds key points",
    "RTDETRDecoder": "RT-DETR is a transformer, another family",
    "Segment": "it makes masks",
    "Segment26": "it makes masks",
    "SemanticSegment": "it makes masks",
    "WorldDetect": "its classes come from text",
    "YOLOEDetect": "its classes come from text",
    "YOLOESegment": "its classes come from text",
    "YOLOESegment26": "its classes come from text",
    "v10Detect": "it works without NMS (end to end)",
}
ACTIVATIONS = frozenset(
    """
    ELU GELU Hardsigmoid Hardswish Identity LeakyReLU Mish ReLU ReLU6 SELU SiLU Sigmoid Softplus
    Tanh
    """.split()  # noqa: SIM905
)
WORDS = frozenset({"nc", "None", "True", "False", "nearest", "bilinear"})
# Written by Ultralytics into the dictionary of a checkpoint; they say nothing about the layers.
IGNORED_KEYS = frozenset({"yaml_file", "ch", "inplace"})


def check_architecture(raw: object, *, where: str = "the architecture") -> Architecture:
    """Return a fresh copy of an architecture in which every key and word is known.

    Args:
        raw: The dictionary of an Ultralytics YAML, from wherever; hostile until it is checked.
        where: What an error names, such as the path of the YAML.

    Returns:
        Keys nc, scale and scales (the chosen one only) or depth_multiple and width_multiple,
        backbone, head, and if given activation and reg_max; values are plain JSON.

    Raises:
        EdgeError: If a key, module, argument or size is not allowed, or nothing is detected.
    """
    if not isinstance(raw, dict) or not {"backbone", "head", "nc"} <= set(raw):
        raise EdgeError(
            f"{where} is no YOLO architecture; it needs the keys nc, backbone and head"
        )
    _refuse_other_heads(raw["head"], where)
    raw = {key: value for key, value in raw.items() if key not in IGNORED_KEYS}
    unknown = sorted(_show(key) for key in raw if key not in CHECKS)
    if unknown:
        raise EdgeError(
            f"{where} has keys that a YOLO detector does not use: {', '.join(unknown[:5])};"
            f" allowed are {', '.join(CHECKS)}"
        )
    try:
        checked = {key: check(raw[key]) for key, check in CHECKS.items() if key in raw}
        _check_connections(checked)
        return _choose_scale(checked)
    except _RefusedError as refusal:
        raise EdgeError(f"{where}: {refusal}") from None


def _refuse_other_heads(head: object, where: str) -> None:
    """Say first what a model is for, before one of its other layers is found to be unknown."""
    last = head[-1] if isinstance(head, (list, tuple)) and head else None
    module = last[2] if isinstance(last, (list, tuple)) and len(last) == 4 else None
    if isinstance(module, str) and module in OTHER_HEADS:
        raise EdgeError(
            f"{where}: its head is {module}: {OTHER_HEADS[module]}, which is not supported;"
            " use a detection model such as yolov8n or yolo11n"
        )


class _RefusedError(Exception):
    """Why a part of an architecture is not allowed."""


def _number(value: object, low: float, high: float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _RefusedError(f"{what} is {_show(value)}, not a number")
    if not (math.isfinite(value) and low <= value <= high):
        raise _RefusedError(f"{what} is {_show(value)}; allowed is {low:g} to {high:g}")
    return value


def _whole(value: object, low: int, high: int, what: str) -> int:
    if not isinstance(value, int):
        raise _RefusedError(f"{what} is {_show(value)}, not a whole number")
    return int(_number(value, low, high, what))


def _classes(value: object) -> int:
    return _whole(value, 1, MAX_CLASSES, "nc")


def _reg_max(value: object) -> int:
    return _whole(value, 1, MAX_REG_MAX, "reg_max")


def _channels(value: object) -> int:
    return _whole(value, 3, 3, "channels (only colour pictures are supported)")


def _multiple(value: object) -> float:
    return _number(value, 0.01, MAX_MULTIPLE, "a depth or width multiple")


def _scale(value: object) -> str:
    if not isinstance(value, str) or len(value) > 16:
        raise _RefusedError(f"scale is {_show(value)}, not a short word")
    return value


def _scales(value: object) -> dict[str, list[float]]:
    if not isinstance(value, dict) or not 0 < len(value) <= 16:
        raise _RefusedError(f"scales is {_show(value)}, not a dictionary of scales")
    checked = {}
    for name, row in value.items():
        if not isinstance(row, (list, tuple)) or len(row) != 3:
            raise _RefusedError(f"scale {_show(name)} is not [depth, width, max_channels]")
        most = _whole(row[2], 8, MAX_CHANNELS, "max_channels")
        checked[_scale(name)] = [_multiple(row[0]), _multiple(row[1]), most]
    return checked


def _end_to_end(value: object) -> None:
    if value:
        raise _RefusedError(
            "its head works without NMS (end2end, as YOLOv10 and YOLO26), which is not"
            " supported; use a YOLOv8 or YOLO11 detection model"
        )


def _key_points(value: object) -> None:
    raise _RefusedError("it finds key points (kpt_shape); use a detection model")


def _activation(value: object) -> str:
    """Check for the form `nn.Name(plain arguments)` without running anything."""
    try:
        if not isinstance(value, str) or len(value) > 80:
            raise ValueError
        call = ast.parse(value.strip(), mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError
        prefix, _, name = ast.unparse(call.func).rpartition(".")
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        plain = all(isinstance(ast.literal_eval(a), (bool, int, float)) for a in arguments)
        named = all(keyword.arg for keyword in call.keywords)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        plain = named = False
        prefix = name = ""
    if prefix not in ("nn", "torch.nn") or name not in ACTIVATIONS or not (plain and named):
        raise _RefusedError(
            f"activation {_show(value)} is not allowed; write one like nn.SiLU() or"
            f" nn.LeakyReLU(0.1), of: {', '.join(sorted(ACTIVATIONS))}"
        )
    assert isinstance(value, str)
    return value.strip()


def _layers(value: object) -> list[list[Any]]:
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= MAX_LAYERS:
        raise _RefusedError(f"backbone and head are lists of 1 to {MAX_LAYERS} layers each")
    return [_layer(row) for row in value]


def _layer(row: object) -> list[Any]:
    if not isinstance(row, (list, tuple)) or len(row) != 4:
        raise _RefusedError(f"layer {_show(row)} is not [from, repeats, module, arguments]")
    source, repeats, module, arguments = row
    if isinstance(source, (list, tuple)):
        if not 0 < len(source) <= 16:
            raise _RefusedError(
                f"layer {_show(row)} reads from {len(source)} layers; allowed: 1 to 16"
            )
        source = [_whole(s, -MAX_LAYERS, 2 * MAX_LAYERS, "from") for s in source]
    else:
        source = _whole(source, -MAX_LAYERS, 2 * MAX_LAYERS, "from")
    if not isinstance(module, str) or module not in MODULES:
        raise _RefusedError(
            f"module {_show(module)} is not one that YOLO detectors are built from"
        )
    if not isinstance(arguments, (list, tuple)) or len(arguments) > MAX_ARGUMENTS:
        raise _RefusedError(
            f"the arguments of {module} are not a list of at most {MAX_ARGUMENTS}"
        )
    checked = [_argument(value, module, index) for index, value in enumerate(arguments)]
    return [source, _whole(repeats, 1, MAX_REPEATS, "repeats"), module, checked]


def _argument(value: object, module: str, index: int) -> Any:
    what = f"argument {index + 1} of {module}"
    if value is None or isinstance(value, bool) or (isinstance(value, str) and value in WORDS):
        return value
    if isinstance(value, str):
        raise _RefusedError(
            f"{what} is {_show(value)}; words allowed: {', '.join(sorted(WORDS))}"
        )
    if isinstance(value, (list, tuple)):
        if len(value) > 16:
            raise _RefusedError(f"{what} has {len(value)} values; allowed are 16")
        return [_number(item, -MAX_CHANNELS, MAX_CHANNELS, what) for item in value]
    # Channels come first; what follows are kernel sizes, strides, groups and repeats.
    widest = MAX_CHANNELS if index < 3 else 64
    return _number(value, -widest, widest, what)


def _check_connections(checked: Architecture) -> None:
    rows = [*checked["backbone"], *checked["head"]]
    if rows[-1][2] != "Detect" or any(row[2] == "Detect" for row in rows[:-1]):
        raise _RefusedError(
            f"its last layer is {rows[-1][2]}; a detector ends in its only Detect layer"
        )
    for index, (source, _, module, _) in enumerate(rows):
        for read in source if isinstance(source, list) else [source]:
            if read >= index or (read < -index and read != -1):
                raise _RefusedError(
                    f"layer {index} ({module}) reads from layer {read}, not before it"
                )


def _choose_scale(checked: Architecture) -> Architecture:
    dropped = {"channels", "end2end", "kpt_shape"}
    result = {key: value for key, value in checked.items() if key not in dropped}
    scales = result.get("scales")
    if not scales:
        return result
    # An empty scale is what Ultralytics writes when it took the first one.
    if "scale" not in result and len(scales) > 1:
        raise _RefusedError(
            f"it has the scales {', '.join(scales)}; add a line such as 'scale: n'"
        )
    scale = result.get("scale") or next(iter(scales))
    if scale not in scales:
        raise _RefusedError(f"there is no scale {_show(scale)}; there are: {', '.join(scales)}")
    return {**result, "scale": scale, "scales": {scale: scales[scale]}}


def _show(value: object) -> str:
    return " ".join(reprlib.repr(value).split())[:80]


CHECKS: dict[str, Callable[[object], object]] = {
    "nc": _classes,
    "scale": _scale,
    "scales": _scales,
    "depth_multiple": _multiple,
    "width_multiple": _multiple,
    "activation": _activation,
    "reg_max": _reg_max,
    "channels": _channels,
    "end2end": _end_to_end,
    "kpt_shape": _key_points,
    "backbone": _layers,
    "head": _layers,
}
