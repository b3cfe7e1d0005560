"""Rank correlations and overlaps as they are defined: pair by pair, choice by choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations


def ranks(values: Sequence[float]) -> list[Fraction]:
    """How many are below each value, and half of the others that equal it."""
    return [
        sum(other < value for other in values)
        + Fraction(sum(other == value for other in values) - 1, 2)
        for value in values
    ]


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's correlation of the ranks."""
    a, b = ranks(first), ranks(second)
    mean = Fraction(len(a) - 1, 2)
    product = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    spread = sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)
    return float(product) / math.sqrt(spread) if spread else None


def kendall(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pairs in the same order less pairs in the other, by the pairs that do not tie."""
    pairs = list(combinations(range(len(first)), 2))
    order = sum(_sign(first[i] - first[j]) * _sign(second[i] - second[j]) for i, j in pairs)
    untied = [sum(values[i] != values[j] for i, j in pairs) for values in (first, second)]
    return order / math.sqrt(untied[0] * untied[1]) if all(untied) else None


def jaccard_by_chance(chosen: int, of: int) -> float:
    """The mean over all pairs of choices."""
    choices = [set(choice) for choice in combinations(range(of), chosen)]
    shares = [Fraction(len(a & b), len(a | b)) for a in choices for b in choices]
    return float(sum(shares) / len(shares))


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
