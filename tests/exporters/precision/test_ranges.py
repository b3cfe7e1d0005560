"""Ranges against a plain count, and the least error against trying every range there is."""

import itertools

import numpy as np
import pytest

from exporters.precision.places import find_places
from exporters.precision.ranges import (
    BINS,
    METHODS,
    Seen,
    choose_ranges,
    least_error,
    observe,
    percentile,
    rounded,
    whole_range,
)
from tests.exporters.graphs import GraphBuilder, run
from tests.exporters.precision.test_places import network

pytestmark = pytest.mark.needs_torch


def seen_of(values: np.ndarray) -> Seen:
    """Return the histogram of some values by numpy's own function."""
    low, high = min(0.0, values.min()), max(0.0, values.max())
    return Seen(float(low), float(high), np.histogram(values, BINS, (low, high))[0])


def images(count: int, channels: int = 3) -> list[np.ndarray]:
    """Return noise, each of another strength."""
    random = np.random.default_rng(0)
    return [
        (random.standard_normal((1, channels, 7, 7)) * (index + 1)).astype(np.float32)
        for index in range(count)
    ]


def test_values_are_seen_as_onnxruntime_computes_them():
    """Least and greatest value of each tensor over all pictures, and each value counted."""
    model = network().build("head/Sigmoid")
    pictures = images(3)

    seen = observe(model, pictures, ["x", "a.act/Mul", "head/Conv"], quiet=True)

    shown = network().build("a.act/Mul", "head/Conv")
    found = [run(shown, picture) for picture in pictures]
    for index, name in enumerate(("a.act/Mul", "head/Conv")):
        values = np.concatenate([arrays[index].ravel() for arrays in found])
        assert seen[name].low == pytest.approx(min(0, values.min()), rel=1e-5)
        assert seen[name].high == pytest.approx(max(0, values.max()), rel=1e-5)
        assert seen[name].counts.sum() == values.size
        expected = np.histogram(values, BINS, (seen[name].low, seen[name].high))[0]
        assert np.abs(np.cumsum(seen[name].counts - expected)).max() <= 3  # at edges of bins
    assert seen["x"].high == max(picture.max() for picture in pictures)


def test_a_quick_look_counts_nothing():
    """The range alone takes one pass."""
    seen = observe(
        network().build("head/Sigmoid"), images(1), ["a.act/Mul"], counted=False, quiet=True
    )

    assert seen["a.act/Mul"].counts.size == 0
    assert percentile(seen["a.act/Mul"]) == whole_range(seen["a.act/Mul"])
    assert least_error(seen["a.act/Mul"]) == whole_range(seen["a.act/Mul"])


def test_the_least_error_beats_every_range_of_a_grid():
    """Long tails are cut where that makes the squared error of all values least."""
    values = np.random.default_rng(1).standard_t(3, 20_000)
    seen = seen_of(values)

    def error(bounds: tuple[float, float]) -> float:
        return float(((rounded(values, bounds) - values) ** 2).mean())

    grid = itertools.product(np.linspace(0.1, 1, 10), np.linspace(0.4, 1, 7))
    best = min(error((seen.low * a, seen.high * b)) for a, b in grid)
    assert error(least_error(seen)) <= best * 1.05
    assert error(least_error(seen)) < error(whole_range(seen))


@pytest.mark.parametrize(("activation", "least"), [("silu", -9.0), ("sigmoid", -12.0)])
def test_no_step_is_spent_on_what_an_activation_makes_zero(activation, least):
    """Of values down to -60 nearly all steps are left for those above -10."""
    values = np.random.default_rng(2).uniform(-60, 5, 50_000)

    low, high = least_error(seen_of(values), activation)

    assert least <= low < 0
    assert high > 2


def test_a_percentile_leaves_single_values_out():
    """One value of 100,000 does not widen the range of all others."""
    values = np.append(np.random.default_rng(3).uniform(-1, 1, 99_999), 500.0)

    low, high = percentile(seen_of(values))

    assert low == pytest.approx(-1, abs=0.3)
    assert high == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_joined_gets_the_widest_range(method):
    """One range for all of a group, that of its widest member."""
    model = network().build("head/Sigmoid")
    places = find_places(model)
    seen = observe(model, images(2), places.tensors, quiet=True)

    ranges = choose_ranges(seen, places, method)

    assert set(ranges) == set(places.tensors)
    joined = {ranges[name] for name in places.joined[0]}
    assert len(joined) == 1
    alone = [METHODS[method](seen[name], None) for name in places.joined[0]]
    assert joined == {(min(low for low, _ in alone), max(high for _, high in alone))}


def test_a_value_that_is_no_number_does_not_spoil_a_range():
    """A network that is not solved yet may give anything."""
    graph = GraphBuilder(3)
    graph.node("Log", ["x"], "a/Log")
    graph.conv("a/Log", "b/Conv", (4, 3, 1, 1))

    seen = observe(graph.build("b/Conv"), images(1), ["a/Log", "b/Conv"], quiet=True)

    assert all(np.isfinite([one.low, one.high]).all() for one in seen.values())
