"""How a share of channels is found that leaves as much of the latency as is wanted."""

from __future__ import annotations

import pytest

from runtime_bench.errors import EdgeError
from tests.benchmarks.peers.methods import NEAR, find_cut, find_share


def silent(line: str) -> None:
    """Say nothing."""


@pytest.mark.parametrize("wanted", [0.9, 0.67, 0.4])
def test_a_share_is_found_where_latency_falls_with_it(wanted: float) -> None:
    """As near as is asked."""
    share, ratio = find_share(lambda share: 1 - share, wanted, silent)

    assert ratio == 1 - share
    assert ratio == pytest.approx(wanted, rel=NEAR)


def test_a_share_is_found_where_latency_rises_again() -> None:
    """Beyond 0.5, layers that would lose too much are left whole."""
    share, ratio = find_share(lambda share: max(1 - share, share), 0.6, silent)

    assert share < 0.5
    assert ratio == pytest.approx(0.6, rel=NEAR)


def test_nothing_is_removed_where_nothing_has_to_be() -> None:
    """As in 8 bits, which are fast enough."""
    assert find_cut(lambda round_to, share: 0.5 - share / 10, 0.6, silent) == (8, 0.0)


def test_finer_multiples_are_tried_where_coarse_ones_are_not_fast_enough() -> None:
    """Layers of 16 channels have little choice with multiples of 8."""
    least = {8: 0.72, 4: 0.3}

    round_to, share = find_cut(
        lambda round_to, share: max(1 - share, least[round_to]), 0.67, silent
    )

    assert round_to == 4
    assert 1 - share == pytest.approx(0.67, rel=NEAR)


def test_the_nearest_is_taken_if_none_is_near() -> None:
    """Up to a tenth beside; then there is none."""
    assert find_cut(lambda round_to, share: max(1 - share, 0.7), 0.67, silent)[0] == 4
    with pytest.raises(EdgeError, match=r"0\.500"):
        find_cut(lambda round_to, share: max(1 - share, 0.7), 0.5, silent)
