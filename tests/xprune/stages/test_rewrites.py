"""`rewrites.json`: timed once, used again, timed anew where it no longer holds."""

from __future__ import annotations

import json
from typing import Any

import onnx
import pytest

import xprune.stages.rewrites as stage
from exporters.keep_faster import Trial
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.session import open_session
from tests.xprune.stages.conftest import MakeBench

TRIALS = (
    Trial("split_convolution", 2, 1.05, (1.02, 1.08), kept=True),
    Trial("weigh_bins", 1, 0.97, (0.95, 0.99), kept=False),
)


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch) -> list[onnx.ModelProto]:
    """Keep the clock out, and note every graph that would be timed."""
    seen: list[onnx.ModelProto] = []

    def answer(model: onnx.ModelProto, *_: Any, **__: Any) -> tuple[Trial, ...]:
        seen.append(model)
        return TRIALS

    monkeypatch.setattr(stage, "keep_faster", answer)
    return seen


def test_what_is_faster_is_timed_once(
    make_bench: MakeBench, timings: list[onnx.ModelProto]
) -> None:
    """A second bench of the same run reads the file; the graph timed is the one that ships."""
    kept = [stage.kept_rewrites(make_bench()) for _ in range(2)]

    assert kept == [("split_convolution",)] * 2
    assert len(timings) == 1
    assert [value.name for value in timings[0].graph.output] == ["boxes", "scores", "labels"]


def test_other_settings_are_timed_anew(
    make_bench: MakeBench, timings: list[onnx.ModelProto]
) -> None:
    """Another number of threads, another end of the graph."""
    for options in ({}, {"threads": 2}, {"raw": True}, {}):
        assert stage.rewrite_trials(make_bench(**options)) == TRIALS

    assert len(timings) == 4
    assert [value.name for value in timings[2].graph.output] == ["output0"]


def test_switched_off_nothing_is_timed(
    make_bench: MakeBench, timings: list[onnx.ModelProto]
) -> None:
    """The file is there all the same, since later stages depend on it."""
    bench = make_bench(rewrites="off")

    assert stage.kept_rewrites(bench) == ()
    assert timings == []
    assert json.loads(bench.run.file(stage.REWRITES_FILE).read_text())["trials"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something"}, "does not list rewrites"),
        ({"version": 99}, "version 99"),
        ({"trials": [{"name": "weigh_bins"}]}, "'places'"),
        ({"trials": [{**TRIALS[0].__dict__, "name": "magic"}]}, "'magic', which is no rewrite"),
        ({"trials": 7}, "remove it"),
    ],
)
def test_a_file_that_was_spoiled_is_an_error(
    make_bench: MakeBench,
    timings: list[onnx.ModelProto],
    change: dict[str, Any],
    message: str,
) -> None:
    """One line that says what to do."""
    bench = make_bench()
    stage.kept_rewrites(bench)
    path = bench.run.file(stage.REWRITES_FILE)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    with pytest.raises(EdgeError, match=message):
        stage.kept_rewrites(bench)


def test_a_raw_graph_ships_with_nms_and_rewrites(make_bench: MakeBench) -> None:
    """What a plan times is what the artifact will be."""
    bench = make_bench()

    graph = stage.shipped_graph(bench, bench.unpruned_graph, ["weigh_bins"])

    kinds = [node.op_type for node in onnx.load_from_string(graph).graph.node]
    assert "NonMaxSuppression" in kinds
    assert "Softmax" not in kinds
    answer = open_session(graph, bench.session).run(bench.grey_image())
    assert set(answer) == {"boxes", "scores", "labels"}
