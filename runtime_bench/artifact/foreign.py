"""What an ONNX file without a manifest tells of itself, as Ultralytics' exports do."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import (
    CLASSES_KEPT,
    DETECTION_OUTPUTS,
    KIND_OF_TASK,
    MODEL_FILE,
    Manifest,
    OutputSpec,
    Task,
    file_entry,
)
from runtime_bench.json_fields import MAX_TEXT
from runtime_bench.runtime.feeds import TensorInfo
from runtime_bench.runtime.runnable import Runnable

MOST_NOTE = 1 << 20
UNKNOWN_LICENCE = "unknown"
# Written by `exporters` into classifiers, whose preprocessing Ultralytics has no note for.
OWN_NOTE = "preprocessing"
# Of a row of an export with NMS inside: left, top, right, bottom, score, class.
ROW = 6


def manifest_of_notes(
    model: Path, session: Runnable, *, shape: tuple[int, ...] | None = None
) -> Manifest | None:
    """Return the manifest of a model that Ultralytics exported; None if it is none.

    Its notes are names of classes, stride and size (`metadata_props`); from the shape of the
    output follows what it means.

    Args:
        model: The ONNX file.
        session: The same, loaded.
        shape: Of the input, where a person said it: (1, 3, height, width).
    """
    notes = session.metadata
    names, size = _names(notes), _size(notes, session.inputs, shape)
    task = notes.get("task")
    if task not in KIND_OF_TASK or names is None or size is None:
        return None
    if OWN_NOTE in notes:  # a classifier of ours without its manifest: it is not Ultralytics'
        return None
    read = _scores if task == "classify" else _output
    output = read(notes, session.outputs, classes=len(names))
    if output is None or (task == "classify" and size[0] != size[1]):
        return None
    stride = _literal(notes, "stride")
    return Manifest(
        model_name=model.stem[:MAX_TEXT],
        family="ultralytics",
        licence=notes.get("license", UNKNOWN_LICENCE)[:MAX_TEXT],
        names=names,
        task=cast("Task", task),
        stride=stride if isinstance(stride, int) and task == "detect" else 1,
        input=_input(session.inputs[0].name, size, task),
        output=output,
        files={MODEL_FILE: file_entry(model)},
    )


def _names(notes: Mapping[str, str]) -> tuple[str, ...] | None:
    told = _literal(notes, "names")
    if not isinstance(told, dict) or sorted(map(str, told)) != sorted(
        map(str, range(len(told)))
    ):
        return None
    names = [str(told.get(index, told.get(str(index)))) for index in range(len(told))]
    good = all(name.isprintable() and 0 < len(name) <= MAX_TEXT for name in names)
    return tuple(names) if names and good else None


def _size(
    notes: Mapping[str, str], inputs: Sequence[TensorInfo], shape: tuple[int, ...] | None
) -> tuple[int, int] | None:
    """Return (height, width): as a person said, else as declared, else as noted."""
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].dtype != "tensor(float)":
        return None
    if shape is not None:
        return shape[2:] if len(shape) == 4 and shape[:2] == (1, 3) else None
    told = _literal(notes, "imgsz")
    noted = told if isinstance(told, list) and len(told) == 2 else [None, None]
    height, width = (
        side if side is not None else other
        for side, other in zip(inputs[0].shape[2:], noted, strict=True)
    )
    if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
        return None
    return height, width


def _output(
    notes: Mapping[str, str], outputs: Sequence[TensorInfo], *, classes: int
) -> OutputSpec | None:
    if tuple(output.name for output in outputs) == DETECTION_OUTPUTS:
        return OutputSpec()
    # What more there is serves segments or training; the first is the boxes.
    if not outputs or len(outputs[0].shape) != 3:
        return None
    name, (_, values, last) = outputs[0].name, outputs[0].shape
    arguments = _literal(notes, "args")
    suppressed = notes.get("end2end") == "True" or (
        isinstance(arguments, dict) and arguments.get("nms") is True
    )
    # A side that is not fixed may be anything.
    if suppressed and last in (ROW, None):
        return OutputSpec(kind="raw", names=(name,), decoder="rows")
    if not suppressed and values in (4 + classes, None):
        return OutputSpec(kind="raw", names=(name,), decoder="yolo")
    return None


def _scores(
    notes: Mapping[str, str], outputs: Sequence[TensorInfo], *, classes: int
) -> OutputSpec | None:
    """Return what a classifier gives, whose export ends with a softmax."""
    if len(outputs) != 1 or outputs[0].shape[1:] not in ((classes,), (None,)):
        return None
    return OutputSpec(kind="scores", names=(outputs[0].name,), max_boxes=CLASSES_KEPT)


def _input(name: str, size: tuple[int, int], task: str) -> InputSpec:
    if task == "detect":
        return InputSpec(size=size, name=name)
    # As `classify_transforms` of Ultralytics: the shorter side becomes that of the input.
    return InputSpec(size=size, name=name, resize="crop", antialias=True, shorter_px=size[0])


def _literal(notes: Mapping[str, str], key: str) -> object:
    """Return a note that is written as Python writes a value; None if it is not."""
    text = notes.get(key, "")
    if len(text) > MOST_NOTE:
        return None
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return value
