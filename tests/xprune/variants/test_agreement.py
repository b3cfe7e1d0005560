"""What counts as the truth where nobody labelled it."""

from __future__ import annotations

import numpy as np

from xprune.variants.agreement import reference_size, surer_half


def test_of_what_is_sure_enough_the_surer_half_counts():
    """What is below the limit is no part of it."""
    scores = np.array([0.9, 0.01, 0.3, 0.5, 0.7, 0.2])

    assert surer_half(scores, 0.25) == 0.6
    assert surer_half(scores, 0.95) == 0.95


def test_it_looks_at_twice_the_size_or_at_640_px():
    """Sides are multiples of the stride, and never smaller than they were."""
    assert reference_size((320, 320), 32) == (640, 640)
    assert reference_size((256, 448), 32) == (352, 640)
    assert reference_size((96, 128), 32) == (192, 256)
    assert reference_size((640, 960), 32) == (640, 960)
