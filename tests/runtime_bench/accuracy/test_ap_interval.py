"""Intervals of AP: on every resampled set the same AP as pycocotools' own."""

from __future__ import annotations

import numpy as np
import pytest

from runtime_bench.accuracy.ap_interval import (
    RECALLS,
    _reached,
    average_precisions,
    draw_pictures,
    interval_of,
    match_pictures,
)
from runtime_bench.accuracy.coco import average_precision
from runtime_bench.artifact.detections import NO_DETECTIONS, Detections
from runtime_bench.data.pictures import Picture
from runtime_bench.errors import EdgeError
from tests.runtime_bench.accuracy.test_coco import NAMES, labelled, shaken


def made_up(seed: int, *, count: int = 12) -> tuple[list[Picture], list[Detections]]:
    """Return pictures, some with crowds and some bare, and what was found on them."""
    generator = np.random.default_rng(seed)
    pictures = [
        labelled(generator, int(generator.integers(0, 6)), crowds=int(generator.integers(0, 2)))
        for _ in range(count)
    ]
    found = [shaken(picture, generator) for picture in pictures]
    found[0] = NO_DETECTIONS
    return pictures, found


def resampled_ap(
    pictures: list[Picture], found: list[Detections], weights: np.ndarray
) -> float:
    """Return pycocotools' AP of the set in which each picture stands as often as drawn."""
    rows = np.repeat(np.arange(len(pictures)), weights)
    return average_precision([pictures[i] for i in rows], [found[i] for i in rows], NAMES).ap


@pytest.mark.parametrize("seed", range(5))
def test_every_resampled_set_has_the_ap_of_pycocotools(seed: int) -> None:
    """Twenty draws with replacement, crowds and bare pictures among them."""
    pictures, found = made_up(seed)
    weights = draw_pictures(len(pictures), draws=20, seed=seed)

    answers = average_precisions(match_pictures(pictures, found, NAMES), weights)

    expected = [resampled_ap(pictures, found, row) for row in weights]
    np.testing.assert_allclose(answers, expected, atol=1e-12)


def test_a_recall_reaches_what_a_search_finds() -> None:
    """Each step, the floats on either side of it, and fractions of small counts."""
    fractions = np.array([a / b for b in range(1, 120) for a in range(b + 1)])
    steps = np.concatenate(
        [RECALLS, np.nextafter(RECALLS, -1)[1:], np.nextafter(RECALLS, 2)[:-1], fractions]
    )

    expected = np.searchsorted(RECALLS, steps, side="right")

    np.testing.assert_array_equal(_reached(steps), expected)


def test_equal_scores_count_in_the_order_of_pictures() -> None:
    """Scores that every picture has alike; the order among them decides the precision."""
    pictures, found = made_up(9)
    alike = [Detections(f.boxes, 1 / np.arange(2, 2 + len(f)), f.labels) for f in found]
    weights = draw_pictures(len(pictures), draws=20, seed=1)

    answers = average_precisions(match_pictures(pictures, alike, NAMES), weights)

    expected = [resampled_ap(pictures, alike, row) for row in weights]
    np.testing.assert_allclose(answers, expected, atol=1e-12)


def test_more_than_a_hundred_detections_are_cut_as_coco_has_it() -> None:
    """150 boxes of one class in a picture: the 50 weakest do not count."""
    generator = np.random.default_rng(4)
    picture = labelled(generator, 20)
    many = Detections(
        np.tile(picture.boxes, (10, 1))[:150],
        generator.uniform(0, 1, 150),
        np.tile(picture.labels, 10)[:150] * 0,
    )

    answer = average_precisions(match_pictures([picture], [many], NAMES), np.ones((1, 1), int))

    assert answer[0] == pytest.approx(average_precision([picture], [many], NAMES).ap, abs=1e-12)


def test_nothing_found_is_an_ap_of_zero() -> None:
    """Pycocotools cannot take an empty list; the answer is 0 all the same."""
    picture = labelled(np.random.default_rng(1), 3)

    answers = average_precisions(
        match_pictures([picture], [NO_DETECTIONS], NAMES), np.ones((2, 1), int)
    )

    assert answers.tolist() == [0.0, 0.0]


def test_a_set_without_a_box_has_no_ap_and_is_left_out_of_the_interval() -> None:
    """A draw may take bare pictures alone."""
    generator = np.random.default_rng(1)
    pictures = [labelled(generator, 0), labelled(generator, 3)]
    found = [shaken(picture, generator) for picture in pictures]

    answers = average_precisions(
        match_pictures(pictures, found, NAMES), np.array([[2, 0], [0, 2], [1, 1]])
    )

    assert np.isnan(answers[0])
    assert np.isfinite(interval_of(answers, centre=0.5)).all()


def test_pictures_without_any_box_are_refused() -> None:
    """The message is that of the scorer."""
    with pytest.raises(EdgeError, match="no labelled box"):
        match_pictures([labelled(np.random.default_rng(1), 0)], [NO_DETECTIONS], NAMES)


def test_an_interval_is_around_what_was_measured() -> None:
    """2.5 % lie below and 2.5 % above; the mean of the draws is moved to the figure."""
    values = np.linspace(0, 1, 1001)

    assert interval_of(values, centre=0.4) == pytest.approx((-0.075, 0.875))
