"""A module becomes one valid, well named ONNX graph that says nothing of its machine."""

import copy
import getpass
import re
import socket
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from exporters.onnx_export import export_raw
from runtime_bench.errors import EdgeError

pytestmark = pytest.mark.needs_torch


def run(model, image):
    """Return all outputs, as onnxruntime runs the file."""
    session = ort.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: image})


def text_of(model):
    """Return the bytes of the file without the weights: random bytes hold any short word."""
    model = copy.deepcopy(model)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    return model.SerializeToString()


def test_computes_what_pytorch_computes(raw_model, probes, reference):
    """onnxruntime's answer is the module's, on real, blank and noisy inputs."""
    for name, image in probes.items():
        (actual,) = run(raw_model, image)

        np.testing.assert_allclose(actual[0], reference[name], rtol=1e-4, atol=1e-3)


def test_is_one_static_file_of_opset_18(raw_model):
    """Names, shapes, opset and IR version are as promised, and no weight lies outside."""
    graph = raw_model.graph
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }

    assert shapes == {"images": [1, 3, 96, 64], "output0": [1, 9, 126]}
    assert [(entry.domain, entry.version) for entry in raw_model.opset_import] == [("", 18)]
    assert raw_model.ir_version <= 10
    assert not any(tensor.external_data for tensor in graph.initializer)


def test_batch_norms_are_folded(raw_model):
    """No batch norm is left, and a convolution keeps its name and that of its weight."""
    kinds = {node.op_type for node in raw_model.graph.node}
    first = raw_model.graph.node[0]

    assert "BatchNormalization" not in kinds
    assert first.name == "model.0.conv/Conv"
    assert list(first.input) == ["images", "model.0.conv.weight", "model.0.conv.bias"]


def test_names_are_those_of_the_network(raw_model, network):
    """Every node is "<module path>/<operator>", unique, and so is what it computes."""
    modules = {name for name, _ in network.named_modules()}
    names = [node.name for node in raw_model.graph.node]

    for node in raw_model.graph.node:
        path, _, operator = node.name.rpartition("/")
        assert path in modules
        assert re.fullmatch(rf"{node.op_type}(_\d+)?", operator)
        assert node.output[0] in (node.name, "output0")
    assert len(set(names)) == len(names)
    assert "model.2.m.0.cv1.conv/Conv" in names
    assert "model.2/Split" in names


def test_weights_keep_their_parameters_names(raw_model, network):
    """A convolution's weight in the graph is called as in the state dict."""
    parameters = set(network.state_dict())
    weights = {node.input[1] for node in raw_model.graph.node if node.op_type == "Conv"}

    assert weights <= parameters


def test_says_nothing_about_the_machine(raw_model, repository):
    """No path, no name of a person or host, no stack trace, no note is in the file."""
    content = text_of(raw_model)
    traces = [
        str(Path.home()),
        str(repository),
        "site-packages",
        f"/{getpass.getuser()}/",
        socket.gethostname(),
        "stack_trace",
        "Wrapped",
        ".py",
    ]

    assert [trace for trace in traces if trace.encode() in content] == []
    assert not any(node.metadata_props or node.doc_string for node in raw_model.graph.node)


def test_a_trace_of_the_machine_would_be_seen(repository):
    """The twin: PyTorch's own export does hold paths, so the test above can fail."""
    program = torch.onnx.export(
        Shared().eval(), (torch.zeros(1, 3, 8, 8),), dynamo=True, verbose=False
    )

    content = text_of(program.model_proto)
    assert str(repository).encode() in content
    assert b"stack_trace" in content


class Caching(nn.Module):
    """Keeps what it made for a size, as a head keeps its anchors."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.bn = nn.BatchNorm2d(3)
        self.kept = torch.zeros(0)

    def forward(self, x):
        if self.kept.shape != x.shape:
            self.kept = torch.arange(x.numel(), dtype=torch.float32).reshape(x.shape)
        return (self.bn(self.conv(x)) + self.kept).flatten(2)


def test_leaves_the_module_as_it_was():
    """Mode, parts, gradients and caches are untouched, so that a second export works."""
    module = Caching().train()

    first = export_raw(module, size=(8, 8))
    second = export_raw(module, size=(8, 8))

    assert module.training
    assert isinstance(module.bn, nn.BatchNorm2d)
    assert module.conv.weight.requires_grad
    assert module.kept.shape == (0,)
    assert first == second


def test_says_nothing_on_the_terminal(capfd):
    """The exporter's own prints and warnings are kept quiet."""
    export_raw(Double(), size=(8, 8))

    assert capfd.readouterr() == ("", "")


class Double(nn.Module):
    def forward(self, x):
        return x.flatten(2) * 2


class Branches(nn.Module):
    def forward(self, x):
        return x.flatten(2) if x.sum() > 1 else -x.flatten(2)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Shared(nn.Module):
    """The convolution is read by the batch norm and by the sum."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        return (self.bn(y) + y).flatten(2)


def test_a_batch_norm_that_cannot_be_folded_stays_right():
    """A convolution that something else reads as well is not changed."""
    module = Shared().eval()
    module.bn.running_mean.fill_(0.5)
    image = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)

    (actual,) = run(export_raw(module, size=(8, 8)), image)

    expected = module(torch.from_numpy(image)).detach().numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "reason"),
    [(Branches(), "cannot export Branches"), (Pair(), "Pair returns tuple")],
)
def test_refuses_what_cannot_be_exported(module, reason):
    """A network that branches on values, or returns two tensors, is a one-line error."""
    with pytest.raises(EdgeError, match=reason) as caught:
        export_raw(module, size=(8, 8))

    assert "\n" not in str(caught.value)


def test_the_checker_of_onnx_agrees(raw_model):
    """The graph is valid by onnx's own full check."""
    onnx.checker.check_model(raw_model, full_check=True)
