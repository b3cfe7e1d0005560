"""Pictures are decoded once before they are needed, and kept as far as memory allows."""

from __future__ import annotations

import numpy as np
import pytest

from runtime_bench.artifact.preprocess import read_picture
from runtime_bench.data.dataset import read_dataset
from runtime_bench.errors import EdgeError
from xprune.data.pool import read_pool


def test_pixels_are_those_of_the_file(make):
    """In memory or read again, it is the same picture."""
    pictures = read_dataset(make.unlabelled("pool", 3)).pictures

    kept = read_pool(pictures, longest_px=100)
    read = read_pool(pictures, longest_px=100, memory_bytes=0)

    assert len(kept) == len(kept.kept) == 3
    assert len(read) == 3
    assert not read.kept
    for index, picture in enumerate(pictures):
        whole = read_picture(picture.path).transpose(2, 0, 1)
        np.testing.assert_array_equal(kept.pixels(index), whole)
        np.testing.assert_array_equal(read.pixels(index), whole)


def test_memory_has_a_limit(make):
    """Two pictures of 30 x 40 x 3 bytes fit into 8,000; the third is read when it is needed."""
    pool = read_pool(
        read_dataset(make.unlabelled("pool", 3)).pictures, longest_px=100, memory_bytes=8000
    )

    assert sorted(pool.kept) == [0, 1]
    assert pool.pixels(2).shape == (3, 30, 40)


def test_large_pictures_are_made_smaller_with_their_boxes(make):
    """To the longest side that is of use; boxes are those of the smaller picture."""
    pictures = read_dataset(make.coco("all", 1)).pictures

    pool = read_pool(pictures, longest_px=20)

    assert pool.pixels(0).shape == (3, 15, 20)
    assert pool.pictures[0].size == (15, 20)
    np.testing.assert_allclose(pool.pictures[0].boxes, pictures[0].boxes / 2)


def test_a_faulty_picture_stops_or_is_left_out(make):
    """As with all data: in one line, or listed."""
    folder = make.unlabelled("pool", 3)
    pictures = read_dataset(folder).pictures
    broken = pictures[1].path
    broken.write_bytes(broken.read_bytes()[:100])

    with pytest.raises(EdgeError, match=r"pool_1\.png.*--skip-bad"):
        read_pool(pictures, longest_px=100)
    pool = read_pool(pictures, longest_px=100, skip_bad=True)

    assert [picture.name for picture in pool.pictures] == ["pool_0.png", "pool_2.png"]
    assert len(pool.skipped) == 1
    assert pool.pixels(1).shape == (3, 30, 40)


def test_a_picture_that_changes_meanwhile_is_an_error(make):
    """Boxes and views are for the size that it had."""
    folder = make.unlabelled("pool", 1)
    pool = read_pool(read_dataset(folder).pictures, longest_px=100, memory_bytes=0)
    make.picture(folder / "pool_0.png", (12, 9))

    with pytest.raises(EdgeError, match="changed while it was in use"):
        pool.pixels(0)
