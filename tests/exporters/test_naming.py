"""Names tell the layer, also after a tool has changed the graph."""

import onnx_ir as ir
import pytest
from torch import nn

from exporters.naming import name_after_modules, restore_names
from tests.exporters.graphs import GraphBuilder

pytestmark = pytest.mark.needs_torch


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.act = nn.ReLU()


class Wrapper(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = nn.Module()
        self.network.first, self.network.second = Block(), Block()


def exported():
    """Return a graph as the exporter gives it: notes of scopes, and names of its own."""
    graph = GraphBuilder(4)
    source = graph.conv("x", "network.first.conv", (4, 4, 1, 1))
    graph.nodes[-1].name = "node_conv2d"
    graph.node("Relu", [source], "relu")
    graph.node("Split", ["relu"], ["split_0", "split_1"], axis=1, num_outputs=2)
    graph.node("Add", ["split_0", "split_1"], "add")
    graph.node("Add", ["add", graph.constant("val_7", graph.random.random(1, "f4"))], "add_1")
    graph.node("Neg", ["add_1"], "output0")
    model = ir.from_proto(graph.build("output0"))
    scopes = {
        "Relu": ["", "network", "network.first", "act", "relu"],
        "Add": ["", "network", "network.second", "add"],
        "Neg": ["", "neg"],
    }
    for node in model.graph:
        if node.op_type in scopes:
            node.metadata_props["pkg.torch.onnx.name_scopes"] = str(scopes[node.op_type])
    return model


def names(model):
    """Return the names of all nodes, in order."""
    return [node.name for node in model.graph]


def test_nodes_are_named_after_modules():
    """By the owner of the weight, by the exporter's notes, or by the modules around."""
    model = exported()

    name_after_modules(model, Wrapper())

    assert names(model) == [
        "first.conv/Conv",
        "first.act/Relu",
        "graph/Split",  # between `first` and `second`: in neither of them
        "second/Add",
        "second/Add_1",
        "graph/Neg",
    ]


def test_values_are_named_after_their_nodes():
    """A second output is numbered; the output of the graph keeps its name."""
    model = exported()

    name_after_modules(model, Wrapper())

    values = [value.name for node in model.graph for value in node.outputs]
    assert values[0] == "first.conv/Conv"
    assert values[2:4] == ["graph/Split", "graph/Split:1"]
    assert values[-1] == "output0"


def test_weights_lose_the_wrapper_and_constants_get_their_reader():
    """A parameter is called as in the network; what the exporter made, by where it is used."""
    model = exported()

    name_after_modules(model, Wrapper())

    assert list(model.graph.initializers) == [
        "first.conv.weight",
        "first.conv.bias",
        "second/Add_1.input1",
    ]


def test_without_a_wrapper_paths_stay_whole():
    """Nothing is cut off when the module has no such attribute."""
    model = exported()

    name_after_modules(model, Wrapper(), network_attribute="elsewhere")

    assert names(model)[0] == "network.first.conv/Conv"


def test_names_come_back_after_a_tool():
    """A renamed value or node gets its name again; a new node that of its surroundings."""
    model = exported()
    name_after_modules(model, Wrapper())
    nodes = list(model.graph)
    nodes[0].outputs[0].name = "fused_1"
    nodes[1].name = "tool_made_this"
    nodes[3].name = nodes[3].outputs[0].name = "new"

    restore_names(model)

    assert names(model)[:4] == ["first.conv/Conv", "first.act/Relu", "graph/Split", "graph/Add"]
    assert nodes[0].outputs[0].name == "first.conv/Conv"


def test_a_folded_node_keeps_its_name_to_itself():
    """A constant that a tool left under a node's name is not overwritten by another node."""
    model = exported()
    name_after_modules(model, Wrapper())
    constant = model.graph.initializers.pop("second/Add_1.input1")
    constant.name = "second/Add"
    model.graph.register_initializer(constant)

    restore_names(model)

    assert names(model)[3:5] == ["second/Add_1", "second/Add_2"]
