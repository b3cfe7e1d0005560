"""How much criteria agree, against the plain definitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference import plain_agreement
from xprune.study.agreement import jaccard, jaccard_by_chance, kendall, spearman

# Few different values, so that many tie.
PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12)


@given(PAIRS)
def test_rank_correlations_are_those_of_the_definitions(pairs: list[tuple[int, int]]) -> None:
    """With ties; none where one side does not vary."""
    first, second = (tuple(map(float, side)) for side in zip(*pairs, strict=True))

    for found, plain in (
        (spearman(first, second), plain_agreement.spearman(first, second)),
        (kendall(first, second), plain_agreement.kendall(first, second)),
    ):
        assert (found is None) == (plain is None)
        assert plain is None or found == pytest.approx(plain, abs=1e-12)


def test_the_same_order_correlates_fully_and_the_opposite_one_inversely() -> None:
    """Whatever the values are."""
    values = [0.1, 2.0, 3.0, 1000.0]

    assert spearman(values, [1, 2, 3, 4]) == kendall(values, [1, 2, 3, 4]) == pytest.approx(1)
    assert spearman(values, [4, 3, 2, 1]) == kendall(values, [4, 3, 2, 1]) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        ("abc", "abc", 1.0),
        ("abc", "cde", 0.2),
        ("ab", "cd", 0.0),
        ("", "", 1.0),
        ("", "a", 0.0),
    ],
)
def test_overlap(first: str, second: str, share: float) -> None:
    """What both chose, of what either chose."""
    assert jaccard(first, second) == share


@pytest.mark.parametrize(("chosen", "of"), [(1, 4), (2, 5), (3, 6), (4, 5), (3, 3)])
def test_overlap_by_chance_is_the_mean_over_all_choices(chosen: int, of: int) -> None:
    """Counted out."""
    expected = plain_agreement.jaccard_by_chance(chosen, of)

    assert jaccard_by_chance(chosen, of) == pytest.approx(expected)
