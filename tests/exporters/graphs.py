"""Small ONNX graphs with random weights, and how to run them."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from exporters.passes import run_passes

SIDE = 7


class GraphBuilder:
    """Collects nodes of a graph whose one input is "x", (1, channels, 7, 7) unless said."""

    def __init__(
        self, channels: int, *, seed: int = 0, size: tuple[int, int] = (SIDE, SIDE)
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.size = size
        self.channels = channels
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], outputs: list[str] | str, **attributes) -> str:
        """Add a node and return its first output, which also is its name."""
        names = [outputs] if isinstance(outputs, str) else outputs
        self.nodes.append(helper.make_node(kind, inputs, names, name=names[0], **attributes))
        return names[0]

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a weight."""
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def conv(
        self, source: str, name: str, shape: tuple[int, ...], *, bias: bool = True, **attributes
    ) -> str:
        """Add a convolution whose weight has `shape`: (out, in / groups, rows, columns)."""
        values = self.random.standard_normal(shape).astype(np.float32)
        inputs = [source, self.constant(f"{name}.weight", values)]
        if bias:
            values = self.random.standard_normal(shape[0]).astype(np.float32)
            inputs.append(self.constant(f"{name}.bias", values))
        return self.node("Conv", inputs, name, kernel_shape=shape[2:], **attributes)

    def per_channel(self, kind: str, source: str, name: str, channels: int) -> str:
        """Add a scale ("Mul") or shift ("Add") of each channel."""
        values = self.random.standard_normal((1, channels, 1, 1)).astype(np.float32)
        return self.node(kind, [source, self.constant(f"{name}.value", values)], name)

    def build(self, *outputs: str, opset: int = 18) -> onnx.ModelProto:
        """Return the checked model, all shapes inferred."""
        float32 = onnx.TensorProto.FLOAT
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                "test",
                [helper.make_tensor_value_info("x", float32, [1, self.channels, *self.size])],
                [helper.make_tensor_value_info(name, float32, None) for name in outputs],
                self.weights,
            ),
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=10,
        )
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model, full_check=True)
        return model


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    """Run as it is: no optimiser of onnxruntime between us and the graph."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: image})


def kinds(model: onnx.ModelProto) -> list[str]:
    """Return the operators in order."""
    return [node.op_type for node in model.graph.node]


def rewritten(model):
    """Return the rewritten graph and the counts, after comparing all outputs."""
    image = (
        np.random.default_rng(9)
        .standard_normal(
            (1, model.graph.input[0].type.tensor_type.shape.dim[1].dim_value, SIDE, SIDE)
        )
        .astype(np.float32)
    )

    after, counts = run_passes(model)

    onnx.checker.check_model(after, full_check=True)
    for expected, actual in zip(run(model, image), run(after, image), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    return after, counts
