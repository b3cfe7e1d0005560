"""Make tests/data/tiny_artifact: a detector of 1 kB whose answer is known beforehand.

Run it from the repository, where onnx is installed: `python -m tests.reference.tiny_artifact`.
Input (1, 3, 32, 64). One box, left 8, top 4, right 24, bottom 20, of class 1 ("square"), whose
score is the mean of the picture's red channel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import FileEntry, Manifest, OutputSpec, write_manifest
from runtime_bench.files import sha256_of

FOLDER = Path(__file__).resolve().parents[1] / "data" / "tiny_artifact"
SIZE = (32, 64)
BOX = (8.0, 4.0, 24.0, 20.0)
NAMES = ("disc", "square")


def write_artifact(folder: Path) -> None:
    """Write model.onnx and manifest.json into `folder`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "start": np.array([0]),
        "end": np.array([1]),
        "channel": np.array([1]),
        "one": np.array([1]),
        "boxes_value": np.array([BOX], np.float32),
        "labels_value": np.array([1]),
    }
    nodes = [
        helper.make_node("Slice", ["images", "start", "end", "channel"], ["red"]),
        helper.make_node("ReduceMean", ["red"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "one"], ["scores"]),
        helper.make_node("Identity", ["boxes_value"], ["boxes"]),
        helper.make_node("Identity", ["labels_value"], ["labels"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *SIZE])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, [1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    # Opset and IR version that onnxruntime 1.18 reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(model, path)
    entry = FileEntry(sha256_of(path), path.stat().st_size)
    write_manifest(
        folder,
        Manifest(
            model_name="tiny",
            family="made-up",
            licence="Apache-2.0",
            names=NAMES,
            stride=32,
            input=InputSpec(size=SIZE),
            output=OutputSpec(),
            files={path.name: entry},
        ),
    )


if __name__ == "__main__":
    write_artifact(FOLDER)
