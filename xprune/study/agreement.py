"""How much criteria agree: in the layers that they choose, and in how they rank all of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray


def jaccard(first: Collection[str], second: Collection[str]) -> float:
    """Return the share of what either chose that both chose; 1 where neither chose any."""
    a, b = set(first), set(second)
    return len(a & b) / len(a | b) if a | b else 1.0


def jaccard_by_chance(chosen: int, of: int) -> float:
    """Return the mean Jaccard index of two choices at random.

    Args:
        chosen: How many each chooses.
        of: How many there are to choose from.
    """
    ways = math.comb(of, chosen)
    return sum(
        math.comb(chosen, both)
        * math.comb(of - chosen, chosen - both)
        / ways
        * (both / (2 * chosen - both) if both else 0.0)
        for both in range(max(0, 2 * chosen - of), chosen + 1)
    )


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the correlation of the ranks; ties share theirs. None where one has no spread."""
    a, b = _ranks(first), _ranks(second)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def kendall(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Kendall's tau-b: concordant less discordant pairs. None where one has no spread.

    M. G. Kendall 1945, "The treatment of ties in ranking problems".
    """
    a, b = (np.sign(np.subtract.outer(values, values)) for values in (first, second))
    spread = float((a * a).sum()) * float((b * b).sum())
    return float((a * b).sum()) / math.sqrt(spread) if spread > 0 else None


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Return (N,) ranks from 0; values that tie get the mean of theirs."""
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[place]
    return ranks
