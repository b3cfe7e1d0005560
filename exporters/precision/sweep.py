"""Which recipe moves the outputs least? Found by trying, on pictures kept apart.

Every method of choosing ranges is tried on the whole graph. Then each layer alone is brought to
8 bits: by how much the outputs move is its error, and what it wins is timed. The layers whose
error is the greatest for the time that they win stay in float, as far as the time allows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from exporters.precision.distance import Raw, distance, raw_outputs
from exporters.precision.int8 import Recipe
from exporters.precision.places import Places, find_places
from exporters.precision.qdq import insert_pairs
from exporters.precision.ranges import METHODS, Seen, choose_ranges, observe
from exporters.probes import Image
from runtime_bench.profile import node_times
from runtime_bench.progress import track
from runtime_bench.settings import SessionSettings

# Of the time in 8 bits, what may be spent on layers in float.
TIME_SHARE = 0.04
# Of the pictures, what is kept apart to look at the outputs; at least one.
HELD_OUT = 0.25
MOST_HELD_OUT = 16
RUNS = 40


@dataclass(frozen=True)
class LayerTrial:
    """One layer in 8 bits, alone.

    Attributes:
        layer: Such as "model.0.conv".
        error: How far the outputs moved.
        float_s: Seconds that it takes in float, with what follows it pointwise.
        int8_s: The same in 8 bits, where all others are too.
        in_float: Whether it stays in float.
    """

    layer: str
    error: float
    float_s: float
    int8_s: float
    in_float: bool = False

    @property
    def saved_s(self) -> float:
        """Seconds that 8 bits win; below 0 where they lose."""
        return self.float_s - self.int8_s


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


Times = Callable[[onnx.ModelProto], Mapping[str, float]]


def sweep(
    model: onnx.ModelProto,
    images: Sequence[Image],
    basis: Recipe,
    *,
    session: SessionSettings,
    known: Mapping[str, float] | None = None,
    on_layer: Callable[[str, float], object] = lambda layer, error: None,
    times: Times | None = None,
    quiet: bool = False,
) -> Sweep:
    """Try methods and layers on a raw graph, and return the recipe for it.

    Args:
        model: With one raw output (1, 4 + classes, anchors), rewritten as it will ship.
        images: Inputs (1, 3, height, width), at least two; the last ones are kept apart.
        basis: The type of what flows, and whether weights keep to 7 bits.
        session: How onnxruntime runs where layers are timed.
        known: Errors of layers that were tried before.
        on_layer: Called with each layer and its error as soon as it is known.
        times: Seconds by node of a graph; None for onnxruntime's profile.
        quiet: Show no progress.
    """
    assert len(images) > 1, "some pictures to calibrate on, and some to look at"
    apart = min(MOST_HELD_OUT, max(1, int(len(images) * HELD_OUT)))
    bench = _Bench(model, images[:-apart], images[-apart:], basis, quiet=quiet)
    methods = {name: bench.moved(replace(basis, method=name)) for name in METHODS}
    recipe = replace(basis, method=min(methods, key=lambda name: methods[name]))
    errors = dict(known or {})
    for layer in track(bench.layers, label="Trying layers in int8", quiet=quiet):
        if layer not in errors:
            errors[layer] = bench.moved(recipe, only=layer)
            on_layer(layer, errors[layer])
    timed = times or (lambda graph: _profiled(graph, images, session))
    in_float_s, in_int8_s = timed(model), timed(bench.graph(recipe))
    trials = tuple(
        LayerTrial(
            layer,
            errors[layer],
            sum(in_float_s.get(node, 0.0) for node in nodes),
            sum(in_int8_s.get(node, 0.0) for node in nodes),
        )
        for layer, nodes in bench.places.with_them.items()
    )
    kept = choose_in_float(trials, budget_s=TIME_SHARE * sum(in_int8_s.values()))
    moved = methods[recipe.method]
    if kept:
        with_them = bench.moved(replace(recipe, in_float=kept))
        moved, kept = (with_them, kept) if with_them < moved else (moved, ())
    return Sweep(
        replace(recipe, in_float=kept),
        methods,
        tuple(replace(trial, in_float=trial.layer in kept) for trial in trials),
        moved,
    )


def choose_in_float(trials: Sequence[LayerTrial], *, budget_s: float) -> tuple[str, ...]:
    """Return the layers that are better left in float.

    Those that 8 bits make slower come first, and pay for others: then by the error for each
    second that a layer wins, while the seconds are within the budget.

    Args:
        trials: Of all layers.
        budget_s: What may be spent.
    """
    ranked = sorted(trials, key=lambda trial: (trial.saved_s > 0, -_rate(trial)))
    kept: list[str] = []
    spent_s = 0.0
    for trial in ranked:
        if trial.saved_s > 0 and spent_s + trial.saved_s > budget_s:
            break
        spent_s += max(0.0, trial.saved_s)
        kept.append(trial.layer)
    return tuple(kept)


def _rate(trial: LayerTrial) -> float:
    return trial.error / max(abs(trial.saved_s), 1e-9)


def _profiled(
    graph: onnx.ModelProto, images: Sequence[Image], session: SessionSettings
) -> Mapping[str, float]:
    return node_times(graph.SerializeToString(), images, session, runs=RUNS).by_source


class _Bench:
    """A graph, what its values are on some pictures, and its outputs on others."""

    def __init__(
        self,
        model: onnx.ModelProto,
        images: Sequence[Image],
        held_out: Sequence[Image],
        basis: Recipe,
        *,
        quiet: bool,
    ) -> None:
        self._model, self._held_out = model, held_out
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
        return distance(self._wanted, raw_outputs(self.graph(recipe, places), self._held_out))
