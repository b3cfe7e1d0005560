"""Detections as a value, and how two answers are matched."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.artifact.detections import NO_DETECTIONS, Detections, match_detections
from runtime_bench.errors import EdgeError


def detections(*rows):
    """Return detections from rows of left, top, right, bottom, score, label."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5])


def test_above_keeps_the_score_itself():
    """A detection at exactly the score stays, and the order is kept."""
    found = detections((0, 0, 1, 1, 0.25, 0), (0, 0, 2, 2, 0.2, 1), (0, 0, 3, 3, 0.9, 2))

    assert found.above(0.25).labels.tolist() == [0, 2]


def test_to_json_names_the_classes():
    """The exact form of one detection, which JSON can hold."""
    found = detections((1, 2, 3, 4.5, 0.5, 1))

    assert json.loads(json.dumps(found.to_json(("cat", "dog")))) == [
        {"name": "dog", "label": 1, "score": 0.5, "box": [1.0, 2.0, 3.0, 4.5]}
    ]


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_without_a_name_is_an_error(label):
    """Neither end of the names is silently wrapped around."""
    with pytest.raises(EdgeError, match="but there are 2 names"):
        detections((1, 2, 3, 4, 0.5, label)).to_json(("cat", "dog"))


def test_arrays_that_do_not_belong_together_are_refused():
    """Two boxes with one score are a broken promise of ours."""
    with pytest.raises(AssertionError, match="2 boxes"):
        Detections(np.zeros((2, 4)), np.zeros(1), np.zeros(2))


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 3)),
        max_size=12,
        unique=True,
    ),
    order=st.randoms(use_true_random=False),
)
def test_the_order_of_rows_does_not_matter(rows, order):
    """An answer matches itself shuffled, row for row, without any difference."""
    first = detections(*((x, y, x + 10, y + 10, 0.5, label) for x, y, label in rows))
    shuffled = list(range(len(rows)))
    order.shuffle(shuffled)

    match = match_detections(first, first.take(np.array(shuffled, np.int64)), min_iou=0.5)

    assert [(a, shuffled[b]) for a, b in match.pairs] == [
        (row, row) for row in range(len(rows))
    ]
    assert (len(match.unmatched_a), len(match.unmatched_b)) == (0, 0)
    assert (match.max_box_difference_px, match.max_score_difference) == (0.0, 0.0)


def test_matching_is_one_to_one_and_by_class():
    """Each row has one partner, of its own class; the rest is listed."""
    a = detections((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.5, 1), (50, 50, 60, 60, 0.5, 0))
    b = detections((0, 0, 10, 12, 0.8, 0), (0, 0, 10, 10, 0.7, 0), (0, 0, 10, 10, 0.25, 1))

    match = match_detections(a, b, min_iou=0.5)

    assert match.pairs.tolist() == [[0, 1], [1, 2]]
    assert match.unmatched_a.tolist() == [2]
    assert match.unmatched_b.tolist() == [0]
    assert match.max_box_difference_px == 0.0
    assert match.max_score_difference == 0.25


def test_differences_are_those_of_the_pairs():
    """The greatest difference of an edge, in pixels, over the pairs only."""
    a = detections((0, 0, 10, 10, 0.5, 0))
    b = detections((0, 0, 10, 12, 0.5, 0), (90, 90, 95, 95, 0.5, 0))

    match = match_detections(a, b, min_iou=0.5)

    assert match.max_box_difference_px == 2.0
    assert match.unmatched_b.tolist() == [1]


def test_nothing_matches_nothing():
    """Two empty answers agree."""
    match = match_detections(NO_DETECTIONS, NO_DETECTIONS, min_iou=0.5)

    assert match.pairs.shape == (0, 2)
    assert match.max_box_difference_px == 0.0
