"""Boxes drawn on a picture."""

from __future__ import annotations

import numpy as np
import pytest

from runtime_bench.artifact.detections import NO_DETECTIONS, Detections
from runtime_bench.artifact.draw import class_colour, draw_detections


@pytest.fixture
def grey():
    """A grey picture, (120, 160, 3)."""
    return np.full((120, 160, 3), 114, np.uint8)


def one(box, label=0):
    """Return one detection."""
    return Detections([box], [0.9], [label])


def test_the_outline_has_the_colour_of_the_class(grey):
    """The edges are coloured, the inside is not, and the picture given is left alone."""
    drawn = np.asarray(draw_detections(grey, one((40, 60, 100, 100), 1), ("cat", "dog")))

    assert drawn.shape == grey.shape
    assert tuple(drawn[100, 70].tolist()) == class_colour(1)
    assert tuple(drawn[80, 70].tolist()) == (114, 114, 114)
    assert np.all(grey == 114)


def test_the_name_stands_above_the_box_or_inside_it(grey):
    """A label changes pixels above a low box, and below the top edge of a high one."""
    low = np.asarray(draw_detections(grey, one((40, 60, 100, 100)), ("cat",)))
    high = np.asarray(draw_detections(grey, one((40, 1, 100, 100)), ("cat",)))

    assert np.any(low[50:58, 40:70] != 114)
    assert np.any(high[3:10, 42:70] != 114)


def test_nothing_found_is_the_picture_itself(grey):
    """Without detections no pixel changes."""
    assert np.array_equal(np.asarray(draw_detections(grey, NO_DETECTIONS, ())), grey)


@pytest.mark.parametrize("box", [(0, 0, 160, 120), (5, 5, 5, 5), (100, 90, 20, 10)])
@pytest.mark.parametrize("name", ["猫", "a [bold] name", "x" * 300])
def test_odd_boxes_and_names_are_drawn_without_an_error(grey, box, name):
    """The whole picture, a point, swapped edges; names of any kind and length."""
    assert draw_detections(grey, one(box), (name,)).size == (160, 120)


def test_a_label_without_a_name_is_shown_as_its_number(grey):
    """An answer can be looked at even when the names do not fit."""
    assert draw_detections(grey, one((4, 30, 50, 60), 7), ("cat",)).size == (160, 120)


def test_neighbouring_classes_look_different():
    """No two of the first twenty classes share a colour."""
    assert len({class_colour(label) for label in range(20)}) == 20
