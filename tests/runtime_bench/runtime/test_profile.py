"""The time of every node, from a made-up profile and from a real one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.runtime.profile import (
    NodeTime,
    NodeTimes,
    node_times,
    node_times_apart,
    read_profile,
    source_of,
)
from runtime_bench.runtime.settings import SessionSettings
from tests.reference.tiny_models import SIZE, convolutions_model


def run_event(start_us, end_us):
    """Return the event of one whole run."""
    return {"cat": "Session", "name": "model_run", "ts": start_us, "dur": end_us - start_us}


def node_event(name, start_us, dur_us, *, op="Conv", index="0"):
    """Return the event of one node."""
    details = {"op_name": op, "node_index": index}
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "ts": start_us,
        "dur": dur_us,
        "args": details,
    }


def test_times_are_medians_over_the_last_runs():
    """The first run warms up; of the other three the middle one counts, in seconds."""
    events = [
        {"cat": "Session", "name": "session_initialization", "ts": 0, "dur": 9},
        *(node_event("a", start + 1, dur) for start, dur in [(100, 90), (200, 5), (300, 7)]),
        *(run_event(start, start + 95) for start in (100, 200, 300, 400)),
        node_event("a", 401, 60),
    ]

    times = read_profile(events, runs=3)

    assert times.nodes == (NodeTime("a", "Conv", "a", pytest.approx(7e-6)),)
    assert times.run_s == pytest.approx(95e-6)


def test_a_node_that_runs_twice_in_a_run_counts_twice():
    """The body of a loop is one node whose times are added."""
    events = [run_event(0, 100), node_event("a", 1, 4), node_event("a", 10, 5)]

    assert read_profile(events, runs=1).by_name == {"a": pytest.approx(9e-6)}


def test_nodes_without_a_name_are_told_apart_by_their_index():
    """Two nameless nodes are two entries, in the order in which they run."""
    events = [
        run_event(0, 100),
        node_event("", 20, 5, op="Add", index="2"),
        node_event("", 1, 4, op="Mul", index="1"),
    ]

    assert [node.op_type for node in read_profile(events, runs=1).nodes] == ["Mul", "Add"]


def test_a_profile_with_too_few_runs_is_refused():
    """onnxruntime stops writing at a million events, without an error."""
    with pytest.raises(EdgeError, match="the profile has 1 of 5 runs; ask for fewer runs"):
        read_profile([run_event(0, 1)], runs=5)


@pytest.mark.parametrize(
    ("name", "op_type", "source"),
    [
        ("model.0.conv/Conv", "Conv", "model.0.conv/Conv"),
        ("model.2.cv1.conv/Conv_1_nchwc", "Conv", "model.2.cv1.conv/Conv_1"),
        ("model.0.conv/Conv_nchwc_token_12", "Conv", "model.0.conv/Conv"),
        ("model.0.act/Mul/QuickGeluFusion/", "QuickGelu", "model.0.act/Mul"),
        ("fused h/MatMul/MatMulAddFusion", "FusedGemm", "h/MatMul"),
        ("fused model.0.conv/Conv", "FusedConv", "model.0.conv/Conv"),
        ("ReorderInput_token_17", "ReorderInput", None),
        ("ReorderOutput", "ReorderOutput", None),
    ],
)
def test_the_source_is_the_name_in_the_file(name, op_type, source):
    """What onnxruntime adds goes, the exporter's own numbering stays."""
    assert source_of(name, op_type) == source


def test_a_change_of_layout_counts_for_the_node_that_needs_it():
    """By source, nothing is lost: the sum is the total."""
    times = NodeTimes(
        nodes=(
            NodeTime("r1", "ReorderInput", None, 1.0),
            NodeTime("a_nchwc", "Conv", "a", 10.0),
            NodeTime("b", "Add", "b", 100.0),
            NodeTime("r2", "ReorderOutput", None, 1000.0),
        ),
        run_s=2000.0,
    )

    assert times.by_source == {"a": 11.0, "b": 1100.0}
    assert sum(times.by_source.values()) == times.total_s == 1111.0
    assert times.by_name["r2"] == 1000.0


@pytest.mark.parametrize("optimisation", ["none", "all"])
def test_a_real_profile_leads_back_to_the_file(optimisation):
    """Every node has a positive time, and every source is a node (or value) of the file."""
    from onnx import load_model_from_string

    model = convolutions_model()
    images = [np.zeros((1, 3, *SIZE), np.float32), np.ones((1, 3, *SIZE), np.float32)]
    settings = SessionSettings(threads=1, optimisation=optimisation)

    times = node_times(model, images, settings, runs=3)

    known = {node.name for node in load_model_from_string(model).graph.node} | {"output0"}
    assert set(times.by_source) <= known
    assert "model.0.conv/Conv" in times.by_source
    assert 0 < times.total_s <= times.run_s * 1.5
    json.dumps(times.by_name)


@pytest.mark.parametrize(("runs", "images"), [(0, 1), (3, 0)])
def test_profiling_nothing_is_wrong_usage(runs, images):
    """It needs at least one run and one image."""
    feeds = [np.zeros(1, np.float32)] * images

    for profile in (node_times, node_times_apart):
        with pytest.raises(UsageError, match="profiling needs a run and an image"):
            profile(Path("no.onnx"), feeds, SessionSettings(), runs=runs)


@pytest.mark.parametrize("by_name", [False, True])
def test_a_process_of_its_own_finds_the_same_nodes(tmp_path, by_name):
    """With arrays alone, and by the names of the inputs."""
    path = tmp_path / "model.onnx"
    path.write_bytes(convolutions_model())
    images = [np.zeros((1, 3, *SIZE), np.float32), np.ones((1, 3, *SIZE), np.float32)]
    settings = SessionSettings(threads=1)
    here = node_times(path, images, settings, runs=3)

    feeds = [{"images": image} for image in images] if by_name else images
    apart = node_times_apart(path, feeds, settings, runs=3)

    assert [node.name for node in apart.nodes] == [node.name for node in here.nodes]
    assert [node.provider for node in apart.nodes] == [node.provider for node in here.nodes]
    assert 0 < apart.total_s <= apart.run_s * 1.5


@pytest.mark.parametrize(
    ("name", "op_type", "source"),
    [
        ("model.1.conv/Conv_token_34", "QLinearConv", "model.1.conv/Conv"),
        ("model.6.cv1.conv/Conv_2_token_115", "QLinearConv", "model.6.cv1.conv/Conv_2"),
        ("model.0.act/Mul_QuantizeLinear", "QuantizeLinear", "model.0.act/Mul"),
        ("model.22/Reshape_3_dq", "DequantizeLinear", "model.22/Reshape_3"),
        ("a/Mul_DequantizeLinear_2", "DequantizeLinear", "a/Mul"),
        ("images_QuantizeLinear", "QuantizeLinear", None),
        ("QuantizeLinear_token_667", "QuantizeLinear", None),
        ("Transpose_token_31", "Transpose", None),
        ("nms/Transpose", "Transpose", "nms/Transpose"),
    ],
)
def test_a_node_in_8_bits_comes_from_the_layer_beside_it(name, op_type, source):
    """A pair is called after its value; what is put in for a layout has no layer."""
    assert source_of(name, op_type) == source
