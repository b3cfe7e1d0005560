"""What is faster stays, what is not goes; the clock is not part of the test."""

import numpy as np
import pytest

from exporters.keep_faster import keep_faster
from runtime_bench.runtime.settings import SessionSettings
from runtime_bench.timing.compare import Comparison
from tests.exporters.test_rewrites import decoder, neck

pytestmark = pytest.mark.needs_torch

NOISE = np.random.default_rng(0).standard_normal((1, 6, 8, 12)).astype(np.float32)


def answers(*intervals):
    """Return a comparison that opens and calls both and gives these intervals in turn."""
    waiting = list(intervals)

    def compare(first, second):
        first()()
        second()()
        low, high = waiting.pop(0)
        return Comparison((1.0, 1.0), (1.0, 1.0), (low + high) / 2, (low, high))

    return compare


@pytest.mark.parametrize(
    ("interval", "kept"), [((1.01, 1.03), True), ((0.99, 1.05), False), ((0.8, 0.9), False)]
)
def test_a_rewrite_stays_if_its_whole_interval_is_faster(interval, kept):
    """Maybe faster is not enough."""
    trials = keep_faster(
        neck(),
        [NOISE],
        session=SessionSettings(threads=1),
        names=["upsample_later"],
        compare=answers(interval),
    )

    (trial,) = trials
    assert (trial.name, trial.places, trial.kept) == ("upsample_later", 1, kept)
    assert trial.interval == interval


def test_a_rewrite_without_a_place_is_not_timed():
    """The comparison would fail: it has no answers."""
    trials = keep_faster(
        decoder(),
        [NOISE],
        session=SessionSettings(threads=1),
        names=["upsample_later", "split_convolution"],
        compare=answers(),
    )

    assert [(trial.places, trial.ratio, trial.kept) for trial in trials] == [
        (0, 1.0, False)
    ] * 2


def test_what_is_timed_is_what_ships():
    """Both graphs are brought to their precision first."""
    lowered = []

    def lower(model):
        lowered.append(model)
        return model

    keep_faster(
        neck(),
        [NOISE],
        session=SessionSettings(threads=1),
        names=["upsample_later"],
        compare=answers((1.01, 1.03)),
        lower=lower,
    )

    assert len(lowered) == 2
    assert lowered[0] != lowered[1]
