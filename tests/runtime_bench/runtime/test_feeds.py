"""What goes into a model of which only the shapes are known."""

from __future__ import annotations

import numpy as np
import pytest

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.runtime.feeds import (
    Feed,
    Shapes,
    TensorInfo,
    feed_shapes,
    feeds_of,
    made_up_feed,
    named_arrays,
)

FIXED = TensorInfo("images", (1, 3, 32, 64), "tensor(float)")
OPEN = TensorInfo("images", (None, 3, None, None), "tensor(float)")
TOKENS = TensorInfo("tokens", (1, 7), "tensor(int64)")


def test_declared_shapes_are_taken() -> None:
    """Where nothing is open, nothing need be said."""
    assert feed_shapes([FIXED, TOKENS], {}) == {"images": (1, 3, 32, 64), "tokens": (1, 7)}


@pytest.mark.parametrize("given", [{"": (2, 3, 8, 8)}, {"images": (2, 3, 8, 8)}])
def test_open_sides_are_given(given: Shapes) -> None:
    """By name, or without one where there is one input."""
    assert feed_shapes([OPEN], given) == {"images": (2, 3, 8, 8)}


@pytest.mark.parametrize(
    ("inputs", "given", "message"),
    [
        ([OPEN], {}, r"has shape \?x3x\?x\?, .* with --shape Nx3xNxN"),
        (
            [OPEN],
            {"": (2, 4, 8, 8)},
            r"2x4x8x8 does not fit input 'images', \?x3x\?x\?",
        ),
        ([OPEN], {"": (3, 8, 8)}, "does not fit"),
        ([FIXED], {"image": (1, 3, 32, 64)}, "has no input 'image'; it has: images"),
        ([FIXED, TOKENS], {"": (1, 7)}, r"several inputs \(images, tokens\)"),
        ([OPEN], {"": (1, 3, 99_999, 99_999)}, "too large to be made up"),
    ],
)
def test_what_cannot_be_is_refused(
    inputs: list[TensorInfo], given: Shapes, message: str
) -> None:
    """With what to write instead."""
    with pytest.raises(UsageError, match=message):
        feed_shapes(inputs, given)


def test_made_up_values_are_of_the_right_type() -> None:
    """Noise that repeats for numbers with a point, zeros for the rest."""
    half = TensorInfo("half", (2,), "tensor(float16)")
    shapes = feed_shapes([FIXED, TOKENS, half], {})

    feed = made_up_feed([FIXED, TOKENS, half], shapes)
    again = made_up_feed([FIXED, TOKENS, half], shapes)

    assert {name: array.dtype for name, array in feed.items()} == {
        "images": np.float32,
        "tokens": np.int64,
        "half": np.float16,
    }
    assert 0 <= feed["images"].min() < 0.1 < 0.9 < feed["images"].max() <= 1
    assert not feed["tokens"].any()
    np.testing.assert_array_equal(feed["images"], again["images"])


def test_a_text_cannot_be_made_up() -> None:
    """An input of words has no noise."""
    words = TensorInfo("words", (1,), "tensor(string)")

    with pytest.raises(EdgeError, match=r"input 'words' is tensor\(string\)"):
        made_up_feed([words], {"words": (1,)})


def test_feeds_survive_the_way_to_another_process() -> None:
    """Each with its own inputs, in their order, whatever the inputs are called."""
    feeds: list[Feed] = [
        {"a:b/c": np.arange(3), "d": np.ones(2)},
        np.zeros((2, 2)),
        {"x": np.array([True])},
    ]

    first, second, third = feeds_of(named_arrays(feeds))

    assert isinstance(first, dict)
    assert list(first) == ["a:b/c", "d"]
    np.testing.assert_array_equal(first["a:b/c"], np.arange(3))
    np.testing.assert_array_equal(second, np.zeros((2, 2)))
    assert isinstance(third, dict)
    assert third["x"].dtype == np.bool_
