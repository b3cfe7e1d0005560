"""ONNX models small enough to know their answers by heart.

The score of class 0, 1, 2 is the mean of the red, green, blue channel of the input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import (
    MODEL_FILE,
    Manifest,
    OutputSpec,
    file_entry,
    write_manifest,
)

NAMES = ("red thing", "green thing", "blue thing")
SIZE = (32, 64)

# Left, top, right, bottom in pixels of the input.
BOX = (16.0, 8.0, 48.0, 24.0)


def raw_model() -> bytes:
    """Return a model with one anchor, whose box is `BOX`: output0 (1, 4 + 3, 1)."""
    left, top, right, bottom = BOX
    box = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    helper = _helper()
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["means"], name="means"),
        helper.make_node("Reshape", ["means", "shape"], ["scores"], name="scores"),
        helper.make_node("Concat", ["box", "scores"], ["output0"], name="output0", axis=1),
    ]
    constants = {
        "box": np.array(box, np.float32).reshape(1, 4, 1),
        "shape": np.array([1, 3, 1], np.int64),
    }
    return _model(nodes, constants, {"output0": ("float", [1, 7, 1])})


def detections_model() -> bytes:
    """Return a model that finds one object of each class, all at `BOX`."""
    helper = _helper()
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["means"], name="means"),
        helper.make_node("Reshape", ["means", "shape"], ["scores"], name="scores"),
        helper.make_node("Identity", ["every_box"], ["boxes"], name="boxes"),
        helper.make_node("Identity", ["every_label"], ["labels"], name="labels"),
    ]
    constants = {
        "shape": np.array([3], np.int64),
        "every_box": np.array([BOX] * 3, np.float32),
        "every_label": np.arange(3, dtype=np.int64),
    }
    outputs = {"boxes": ("float", [3, 4]), "scores": ("float", [3]), "labels": ("int64", [3])}
    return _model(nodes, constants, outputs)


def scores_model() -> bytes:
    """Return a classifier: output0 (1, 3), the score of each class."""
    helper = _helper()
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["means"], name="means"),
        helper.make_node("Flatten", ["means"], ["output0"], name="output0"),
    ]
    return _model(nodes, {}, {"output0": ("float", [1, 3])})


def convolutions_model() -> bytes:
    """Return two convolutions with SiLU and ReLU, called as the exporters call them."""
    helper = _helper()
    generator = np.random.default_rng(0)
    nodes = [
        helper.make_node(
            "Conv", ["images", "w0"], ["model.0.conv/Conv"], "model.0.conv/Conv", pads=[1] * 4
        ),
        helper.make_node("Sigmoid", ["model.0.conv/Conv"], ["s"], name="model.0.act/Sigmoid"),
        helper.make_node(
            "Mul", ["model.0.conv/Conv", "s"], ["model.0.act/Mul"], name="model.0.act/Mul"
        ),
        helper.make_node(
            "Conv",
            ["model.0.act/Mul", "w1"],
            ["model.1.conv/Conv"],
            "model.1.conv/Conv",
            pads=[1] * 4,
        ),
        helper.make_node("Relu", ["model.1.conv/Conv"], ["output0"], name="model.1.act/Relu"),
    ]
    constants = {
        "w0": generator.normal(size=(16, 3, 3, 3)).astype(np.float32),
        "w1": generator.normal(size=(16, 16, 3, 3)).astype(np.float32),
    }
    return _model(nodes, constants, {"output0": ("float", [1, 16, *SIZE])})


def write_artifact(folder: Path, *, raw: bool) -> Path:
    """Write a whole artifact, model and manifest, and return its folder."""
    folder.mkdir()
    model = folder / MODEL_FILE
    model.write_bytes(raw_model() if raw else detections_model())
    output = OutputSpec(kind="raw", names=("output0",), decoder="yolo") if raw else OutputSpec()
    manifest = Manifest(
        model_name="tiny",
        family="yolo",
        licence="Apache-2.0",
        names=NAMES,
        stride=32,
        input=InputSpec(size=SIZE),
        output=output,
        files={MODEL_FILE: file_entry(model)},
    )
    write_manifest(folder, manifest)
    return folder


def write_classifier(folder: Path) -> Path:
    """Write the artifact of `scores_model`, and return its folder."""
    folder.mkdir()
    model = folder / MODEL_FILE
    model.write_bytes(scores_model())
    manifest = Manifest(
        model_name="tiny-cls",
        family="resnet",
        task="classify",
        licence="Apache-2.0",
        names=NAMES,
        stride=1,
        input=InputSpec(size=SIZE, resize="crop", antialias=True, shorter_px=64),
        output=OutputSpec(kind="scores", names=("output0",), max_boxes=5),
        files={MODEL_FILE: file_entry(model)},
    )
    write_manifest(folder, manifest)
    return folder


def _helper() -> Any:
    return pytest.importorskip("onnx.helper", reason="onnx builds the models of this test")


def _model(
    nodes: list[Any],
    constants: dict[str, np.ndarray],
    outputs: dict[str, tuple[str, list[int]]],
) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    types = {"float": TensorProto.FLOAT, "int64": TensorProto.INT64}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *SIZE])],
        [
            helper.make_tensor_value_info(name, types[dtype], shape)
            for name, (dtype, shape) in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"task": "detect"})
    return bytes(model.SerializeToString())
