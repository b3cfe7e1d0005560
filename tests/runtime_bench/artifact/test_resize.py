"""Our resizing against OpenCV's, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime_bench.artifact.resize import resize_bilinear

cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the extra `prune`")

SIDES = st.integers(1, 150)


@given(source=st.tuples(SIDES, SIDES), target=st.tuples(SIDES, SIDES), seed=st.integers(0, 99))
@example(source=(100, 60), target=(50, 30), seed=0)
@example(source=(1, 1), target=(7, 9), seed=0)
@example(source=(640, 480), target=(320, 240), seed=1)
@example(source=(333, 500), target=(213, 320), seed=2)
@example(source=(37, 53), target=(446, 640), seed=3)
def test_pixels_are_those_of_opencv(source, target, seed):
    """Enlarging, reducing, both at once; odd sizes; the exact half, a special case."""
    picture = np.random.default_rng(seed).integers(0, 256, (*source, 3), np.uint8)

    expected = cv2.resize(picture, target[::-1], interpolation=cv2.INTER_LINEAR)

    assert np.array_equal(resize_bilinear(picture, target), expected)


def test_the_same_size_is_the_same_picture():
    """Nothing is computed where nothing changes."""
    picture = np.zeros((4, 5, 3), np.uint8)

    assert resize_bilinear(picture, (4, 5)) is picture
