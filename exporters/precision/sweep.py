"""Which recipe moves the outputs least? Found by trying, on pictures kept apart.

Every method of choosing ranges is tried on the whole graph. Then each layer alone is brought to
8 bits: by how much the outputs move is its error. A layer in float costs more than its own
time, since values change their type and layout around it: so the layers of the greatest error
are put back to float one at a time, and timed in turn with the graph without that. Those with
the greatest error for their time stay in float, as far as the time allows.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import onnx

from exporters.precision.distance import Raw, distance, raw_outputs
from exporters.precision.int8 import Recipe
from exporters.precision.places import Places, find_places
from exporters.precision.qdq import insert_pairs
from exporters.precision.ranges import METHODS, Seen, choose_ranges, observe
from exporters.probes import Image
from exporters.raw_layout import YOLO
from runtime_bench.progress import track
from runtime_bench.runtime.profile import node_times
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.compare import compare_in_turn

# Of the time in 8 bits, what may be spent on layers in float.
TIME_SHARE = 0.02
# And only if the outputs move less by this share: on YOLOv8n a seventh less was not to be seen
# in the AP of 700 pictures.
LEAST_GAIN = 0.25
# So many layers are put back to float and timed.
MOST_TIMED = 10
# Of the pictures, what is kept apart to look at the outputs; at least one.
HELD_OUT = 0.25
MOST_HELD_OUT = 16
# Of these, so many tell the error of one layer.
FOR_ONE_LAYER = 8
RUNS = 40


@dataclass(frozen=True)
class LayerTrial:
    """One layer in 8 bits, alone.

    Attributes:
        layer: Such as "model.0.conv".
        error: How far the outputs moved.
        float_s: Seconds that it takes in float, with what follows it pointwise.
        int8_s: The same in 8 bits, where all others are too.
        cost: By which share of its time the graph is slower with the layer in float, timed in
            turn; below 0 where it is faster, None where that was not timed.
        in_float: Whether it stays in float.
    """

    layer: str
    error: float
    float_s: float
    int8_s: float
    cost: float | None = None
    in_float: bool = False


class LayerClock(Protocol):
    """Times graphs."""

    def nodes(self, model: onnx.ModelProto) -> Mapping[str, float]:
        """Return the seconds of each node, by its name."""

    def cost(self, first: onnx.ModelProto, second: onnx.ModelProto) -> float:
        """Return by which share of the first one's time the second is slower."""


@dataclass(frozen=True)
class SessionClock:
    """The clock of this machine.

    Attributes:
        images: Inputs (1, 3, height, width).
        session: How onnxruntime runs.
    """

    images: Sequence[Image]
    session: SessionSettings

    def nodes(self, model: onnx.ModelProto) -> Mapping[str, float]:
        """Return the seconds of each node, from onnxruntime's profile."""
        content = model.SerializeToString()
        return node_times(content, self.images, self.session, runs=RUNS).by_source

    def cost(self, first: onnx.ModelProto, second: onnx.ModelProto) -> float:
        """Return by which share of the first one's time the second is slower, timed in turn."""
        arms = [self._arm(model) for model in (first, second)]
        # Processor time, where that is all: other programs disturb it less.
        clock = time.process_time if self.session.threads == 1 else time.perf_counter
        compared = compare_in_turn(
            *arms, min_rounds=RUNS, min_time_s=0.8, max_time_s=8.0, clock=clock
        )
        return 1 / compared.ratio - 1

    def _arm(self, model: onnx.ModelProto) -> Callable[[], object]:
        session = open_session(model.SerializeToString(), self.session)
        endless = itertools.cycle(self.images)
        return lambda: session.run(next(endless))


@dataclass(frozen=True)
class Sweep:
    """What was tried, and the recipe that came out.

    Attributes:
        recipe: The best.
        methods: For each method of ranges, how far the outputs moved with all in 8 bits.
        layers: Each layer's trial, in the order of the graph.
        distance: How far the outputs move with the recipe.
    """

    recipe: Recipe
    methods: Mapping[str, float]
    layers: tuple[LayerTrial, ...]
    distance: float


def sweep(
    model: onnx.ModelProto,
    images: Sequence[Image],
    basis: Recipe,
    *,
    session: SessionSettings,
    known: Mapping[str, float] | None = None,
    on_layer: Callable[[str, float], object] = lambda layer, error: None,
    clock: LayerClock | None = None,
    decoder: str = YOLO,
    quiet: bool = False,
) -> Sweep:
    """Try methods and layers on a raw graph, and return the recipe for it.

    Args:
        model: With one raw output, rewritten as it will ship.
        images: Inputs (1, 3, height, width), at least two; the last ones are kept apart.
        basis: The type of what flows, and whether weights keep to 7 bits.
        session: How onnxruntime runs where layers are timed.
        known: Errors of layers that were tried before.
        on_layer: Called with each layer and its error as soon as it is known.
        clock: Times graphs; None for onnxruntime's profile and some seconds of the clock.
        decoder: What reads the raw output.
        quiet: Show no progress.
    """
    assert len(images) > 1, "some pictures to calibrate on, and some to look at"
    apart = min(MOST_HELD_OUT, max(1, int(len(images) * HELD_OUT)))
    bench = _Bench(model, images[:-apart], images[-apart:], basis, decoder, quiet=quiet)
    methods = {name: bench.moved(replace(basis, method=name)) for name in METHODS}
    recipe = replace(basis, method=min(methods, key=lambda name: methods[name]))
    errors = dict(known or {})
    for layer in track(bench.layers, label="Trying layers in int8", quiet=quiet):
        if layer not in errors:
            errors[layer] = bench.moved(recipe, only=layer)
            on_layer(layer, errors[layer])
    clock = clock or SessionClock(images[:MOST_HELD_OUT], session)
    in_float_s, in_int8_s = clock.nodes(model), clock.nodes(bench.graph(recipe))
    trials = [
        LayerTrial(
            layer,
            errors[layer],
            sum(in_float_s.get(node, 0.0) for node in nodes),
            sum(in_int8_s.get(node, 0.0) for node in nodes),
        )
        for layer, nodes in bench.places.with_them.items()
    ]
    trials = _with_costs(trials, bench, recipe, clock=clock, quiet=quiet)
    # What is faster in float stays there, even if nothing is more exact for it.
    kept = tuple(trial.layer for trial in trials if _is_free(trial))
    moved = bench.moved(replace(recipe, in_float=kept)) if kept else methods[recipe.method]
    if (more := choose_in_float(trials)) != kept:
        moved_less = bench.moved(replace(recipe, in_float=more))
        if moved_less <= (1 - LEAST_GAIN) * moved:
            kept, moved = more, moved_less
    final = tuple(replace(trial, in_float=trial.layer in kept) for trial in trials)
    return Sweep(replace(recipe, in_float=kept), methods, final, moved)


def choose_in_float(trials: Sequence[LayerTrial]) -> tuple[str, ...]:
    """Return the layers that are better left in float, in the order of the graph.

    Those with which the graph is faster, and then by the error for the time that they cost,
    while all together cost no more than `TIME_SHARE`.

    Args:
        trials: Of all layers; those that were not timed stay in 8 bits.
    """
    kept: set[str] = set()
    spent = 0.0
    for trial in sorted(trials, key=_rate, reverse=True):
        if trial.cost is None or spent + max(0.0, trial.cost) > TIME_SHARE:
            continue
        spent += max(0.0, trial.cost)
        kept.add(trial.layer)
    return tuple(trial.layer for trial in trials if trial.layer in kept)


def _with_costs(
    trials: Sequence[LayerTrial],
    bench: _Bench,
    recipe: Recipe,
    *,
    clock: LayerClock,
    quiet: bool,
) -> list[LayerTrial]:
    """Return the trials, the most promising ones put back to float and timed.

    The layers that are faster in float by themselves are put back first, and the others are
    timed on top of those with which the graph is really faster.
    """
    by_itself = [trial.layer for trial in trials if trial.float_s < trial.int8_s]
    worst = sorted(trials, key=lambda trial: trial.error, reverse=True)
    others = [trial.layer for trial in worst if trial.layer not in by_itself]
    costs: dict[str, float] = {}
    free: tuple[str, ...] = ()
    wanted = [*by_itself, *others][:MOST_TIMED]
    without = bench.graph(recipe)
    for layer in track(wanted, label="Timing layers in float", quiet=quiet):
        with_it = bench.graph(replace(recipe, in_float=(*free, layer)))
        costs[layer] = clock.cost(without, with_it)
        if layer in by_itself and costs[layer] < 0:
            free, without = (*free, layer), with_it
    return [replace(trial, cost=costs.get(trial.layer)) for trial in trials]


def _is_free(trial: LayerTrial) -> bool:
    return trial.cost is not None and trial.cost < 0


def _rate(trial: LayerTrial) -> float:
    return trial.error / max(trial.cost or 0.0, 1e-6)


class _Bench:
    """A graph, what its values are on some pictures, and its outputs on others."""

    def __init__(
        self,
        model: onnx.ModelProto,
        images: Sequence[Image],
        held_out: Sequence[Image],
        basis: Recipe,
        decoder: str,
        *,
        quiet: bool,
    ) -> None:
        self._model, self._held_out, self._decoder = model, held_out, decoder
        self.places = find_places(model, basis.in_float)
        self._seen: Mapping[str, Seen] = observe(
            model, images, self.places.tensors, quiet=quiet
        )
        self._wanted: list[Raw] = raw_outputs(model, held_out)

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.places.convolutions)

    def graph(self, recipe: Recipe, places: Places | None = None) -> onnx.ModelProto:
        """Return the graph in 8 bits."""
        places = places or find_places(self._model, recipe.in_float)
        return insert_pairs(
            self._model,
            places,
            choose_ranges(self._seen, places, recipe.method),
            activation=recipe.activation,
            reduce_range=recipe.reduce_range,
        )

    def moved(self, recipe: Recipe, only: str | None = None) -> float:
        """Return how far the outputs move, with all layers in 8 bits or with one alone."""
        places = None
        if only is not None:
            others = [layer for layer in self.layers if layer != only]
            places = find_places(self._model, (*recipe.in_float, *others))
        count = None if only is None else FOR_ONE_LAYER
        outputs = raw_outputs(self.graph(recipe, places), self._held_out[:count])
        return distance(self._wanted[:count], outputs, decoder=self._decoder)
