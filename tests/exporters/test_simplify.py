"""A graph is simplified only as far as it computes the same."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from exporters.simplify import SIMPLIFIERS, simplify
from tests.exporters.graphs import GraphBuilder, kinds, run

pytestmark = pytest.mark.needs_torch


@pytest.fixture(scope="module")
def wasteful():
    """A graph with a shape that is computed although it is known."""
    graph = GraphBuilder(4)
    source = graph.conv("x", "model.0.conv/Conv", (4, 4, 3, 3))
    shape = graph.node("Shape", [source], "model.1/Shape")
    graph.node("Reshape", [source, shape], "model.1/Reshape")
    graph.node("Relu", ["model.1/Reshape"], "output0")
    model = graph.build("output0")
    model.graph.node[-1].name = "model.2/Relu"
    return model


@pytest.fixture(scope="module")
def images():
    """Noise and blank."""
    noise = np.random.default_rng(0).random((1, 4, 7, 7), np.float32)
    return {"noise": noise, "blank": np.zeros_like(noise)}


@pytest.mark.parametrize("tool", list(SIMPLIFIERS))
def test_each_tool_keeps_values_and_names(tool, wasteful, images):
    """The computed shape is gone, and the names still tell the layers."""
    result = simplify(wasteful, images, simplifiers={tool: SIMPLIFIERS[tool]})

    assert result.tool == tool
    assert "Shape" not in kinds(result.model)
    assert {"model.0.conv/Conv", "model.2/Relu"} <= {
        node.name for node in result.model.graph.node
    }
    assert result.model.graph.node[0].output[0] == "model.0.conv/Conv"
    for image in images.values():
        np.testing.assert_allclose(
            run(result.model, image)[0], run(wasteful, image)[0], atol=1e-6
        )


def wrong_where_blank(model):
    """Break a graph so that only a blank input shows it: the bias is lost."""
    for tensor in model.graph.initializer:
        if tensor.name.endswith(".bias"):
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(4, np.float32), tensor.name))
    return model


def crash(_):
    """Fail as onnxsim fails."""
    raise RuntimeError("cannot simplify")


def invalid(model):
    """Return a graph that onnxruntime does not load."""
    model.graph.node[0].op_type = "Convolute"
    return model


def renamed_input(model):
    """Return a graph that wants its input under another name."""
    model.graph.input[0].name = "y"
    model.graph.node[0].input[0] = "y"
    return model


@pytest.mark.parametrize("broken", [wrong_where_blank, crash, invalid, renamed_input])
def test_a_broken_result_is_not_used(broken, wasteful, images):
    """The next tool is tried; with none left, the graph stays as it was."""
    bare = simplify(wasteful, images, simplifiers={"broken": broken})
    rescued = simplify(
        wasteful, images, simplifiers={"broken": broken, "onnxslim": SIMPLIFIERS["onnxslim"]}
    )

    assert bare.tool == "none"
    assert bare.model == wasteful
    assert rescued.tool == "onnxslim"


def test_a_program_error_in_a_tool_is_not_hidden(wasteful, images):
    """Only what tools raise on graphs is caught."""

    def buggy(model):
        raise AssertionError("ours")

    with pytest.raises(AssertionError, match="ours"):
        simplify(wasteful, images, simplifiers={"buggy": buggy})


def test_tools_are_tried_in_this_order():
    """The names that the manifest gives to tools."""
    assert list(SIMPLIFIERS) == ["onnxsim", "onnxsim without shape inference", "onnxslim"]


def test_a_detector_survives(raw_model, probes, reference, network, capfd):
    """YOLOv8 through onnxsim: the same answers and names, and nothing printed."""
    before = raw_model.SerializeToString()

    result = simplify(raw_model, probes)

    modules = {name for name, _ in network.named_modules()}
    assert result.tool == "onnxsim"
    assert capfd.readouterr() == ("", "")
    assert {node.name.rpartition("/")[0] for node in result.model.graph.node} <= modules
    for name, image in probes.items():
        np.testing.assert_allclose(
            run(result.model, image)[0][0], reference[name], rtol=1e-4, atol=1e-3
        )
    assert raw_model.SerializeToString() == before
    onnx.checker.check_model(result.model, full_check=True)
