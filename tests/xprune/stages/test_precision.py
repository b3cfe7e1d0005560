"""`precision.json`: found once, gone on with after a stop, and a precision that pays."""

from __future__ import annotations

import json
from typing import Any

import onnx
import pytest

import xprune.stages.precision as stage
from exporters.precision.sweep import LayerTrial, Sweep
from runtime_bench.artifact.manifest import PRECISIONS
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.session import open_session
from runtime_bench.timing.compare import Comparison
from tests.xprune.stages.conftest import MakeBench
from xprune import config
from xprune.stages import rewrites

KEPT = "model.0.conv"


class Clock:
    """Answers of the clock: so many times as fast is the second graph."""

    def __init__(self) -> None:
        self.ratio = 2.0
        self.compared = 0

    def __call__(self, *_: Any, **__: Any) -> Comparison:
        """Return the ratio with a narrow interval."""
        self.compared += 1
        return Comparison(
            (1.0, 1.0), (1.0, 1.0), self.ratio, (self.ratio - 0.01, self.ratio + 0.01)
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Keep the clock out, and the trials of rewrites."""
    clock = Clock()
    monkeypatch.setattr(stage, "compare_opened", clock)
    monkeypatch.setattr(rewrites, "keep_faster", lambda *_, **__: ())
    return clock


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Keep the sweep out, and note what was known when it began."""
    begun: list[dict[str, float]] = []

    def answer(model: Any, images: Any, basis: Any, **options: Any) -> Sweep:
        begun.append(options["known"])
        options["on_layer"](KEPT, 0.25)
        if len(begun) == 1:
            raise KeyboardInterrupt
        recipe = stage.replace(basis, in_float=(KEPT,))
        trials = (LayerTrial(KEPT, 0.25, 2.0, 1.0, -0.1, True),)
        return Sweep(recipe, {"minmax": 0.5}, trials, 0.1)

    monkeypatch.setattr(stage, "sweep", answer)
    return begun


def test_a_recipe_is_found_once_and_gone_on_with(
    make_bench: MakeBench, clock: Clock, sweeps: list[dict[str, float]]
) -> None:
    """What was found before a stop is known afterwards; then nothing is tried again."""
    clock.ratio = 0.5
    with pytest.raises(KeyboardInterrupt):
        rewrites.run_lowering(make_bench(precision="int8"))
    found = [rewrites.run_lowering(make_bench(precision="int8")).recipe for _ in range(2)]

    assert sweeps == [{}, {KEPT: 0.25}]
    assert found[0] == found[1]
    assert found[0].in_float == (KEPT,)
    assert clock.compared == 1  # with and without a sign
    document = json.loads(make_bench().run.file(stage.PRECISION_FILE).read_text())
    assert document["sweep"]["layers"][0]["error"] == 0.25


def test_what_ships_computes_in_8_bits_but_for_what_stays_in_float(
    make_bench: MakeBench, clock: Clock, sweeps: list[dict[str, float]]
) -> None:
    """The same for what is timed; asked for in float32, it is as it was."""
    clock.ratio = 0.5
    sweeps.append({})  # it is not stopped
    bench = make_bench(precision="int8")

    asked: dict[str, dict[str, Any]] = {
        "ships": {},
        "timed": {"quick": True},
        "float": {"precision": "float32"},
    }
    graphs = {
        name: onnx.load_from_string(
            rewrites.shipped_graph(bench, bench.unpruned_graph, **options)
        )
        for name, options in asked.items()
    }

    kinds = {name: [n.op_type for n in model.graph.node] for name, model in graphs.items()}
    assert kinds["ships"] == kinds["timed"]
    assert "QuantizeLinear" in kinds["ships"]
    assert "QuantizeLinear" not in kinds["float"]
    stored = {tensor.name: tensor.data_type for tensor in graphs["ships"].graph.initializer}
    kept = next(node for node in graphs["ships"].graph.node if node.name == f"{KEPT}/Conv")
    assert stored[kept.input[1]] == onnx.TensorProto.FLOAT
    answer = open_session(graphs["ships"].SerializeToString(), bench.session)
    assert set(answer.run(bench.grey_image())) == {"boxes", "scores", "labels"}


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_a_precision_that_is_slower_here_is_refused(
    make_bench: MakeBench, clock: Clock, precision: str
) -> None:
    """With the figure, which is measured once."""
    clock.ratio = 0.8
    for _ in range(2):
        with pytest.raises(EdgeError, match=rf"{precision} takes 1\.25 times as long as fl"):
            rewrites.check_precision(make_bench(precision=precision))

    assert clock.compared == {"int8": 2, "float16": 1}[precision]


def test_a_precision_that_is_faster_goes_on(make_bench: MakeBench, clock: Clock) -> None:
    """And float32 is not timed at all."""
    rewrites.check_precision(make_bench())
    assert clock.compared == 0

    rewrites.check_precision(make_bench(precision="float16"))
    assert clock.compared == 1


def test_another_machine_cannot_be_planned_for_in_int8(
    make_bench: MakeBench, clock: Clock
) -> None:
    """What pays there is not known here."""
    bench = make_bench(precision="int8", layers=None, speedup=1.2, latency_table="there.json")

    with pytest.raises(EdgeError, match="int8 is tried on this machine, and --latency-table"):
        rewrites.check_precision(bench)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something"}, "does not hold a precision"),
        ({"version": 99}, "version 99"),
        ({"basis": {"method": "magic"}}, "remove it"),
        ({"basis": {"method": "minmax", "activation": "int4"}}, "type 'int4'"),
        ({"basis": 7}, "remove it"),
        ({"sweep": {"recipe": {"method": "minmax"}}}, "'activation'"),
        ({"sweep": 7}, "remove it"),
        ({"errors": {"a": "b"}}, "remove it"),
        ({"errors": [1]}, "remove it"),
        ({"speedup": {"ratio": 1.0}}, "'interval'"),
    ],
)
def test_a_file_that_was_spoiled_is_an_error(
    make_bench: MakeBench, clock: Clock, change: dict[str, Any], message: str
) -> None:
    """One line that says what to do."""
    bench = make_bench(precision="int8")
    stage.first_recipe(bench)
    path = bench.run.file(stage.PRECISION_FILE)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    with pytest.raises(EdgeError, match=message):
        stage.first_recipe(bench)


def test_other_settings_are_tried_anew(make_bench: MakeBench, clock: Clock) -> None:
    """Another number of threads; but the size may change."""
    for options in ({}, {"imgsz": (96, 64)}, {"threads": 2}):
        stage.first_recipe(make_bench(precision="int8", **options))

    assert clock.compared == 2


def test_the_device_knows_the_precisions_of_a_run() -> None:
    """The two lists are one."""
    assert config.PRECISIONS == PRECISIONS
