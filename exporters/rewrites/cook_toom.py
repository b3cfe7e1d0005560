"""The matrices of a fast filter: m results of r taps from m + r - 1 products, not m · r.

Cook and Toom's way, as Winograd 1980 has it: the filter and the data are polynomials, which are
known from their values at m + r - 2 points and at infinity. All is exact in fractions until the
end. Points with small numbers in them, and their inverses, keep the rounding small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TAPS = 3
_HALF = Fraction(1, 2)
# By the number of results. The point 1 is in each: its product is in every result just once.
_POINTS: dict[int, tuple[Fraction | int, ...]] = {
    4: (0, 1, -1, 2, -_HALF),
    5: (0, 1, -1, 2, -2, -_HALF),
    6: (0, 1, -1, 2, -2, _HALF, -_HALF),
}
RESULTS = tuple(_POINTS)


@dataclass(frozen=True)
class FastFilter:
    """How results of a filter of three taps come about: output · ((filter · g) (input · d)).

    Attributes:
        results: How many results one tile gives: m.
        input: (m + 2, m + 2): sums of the data, one row for each product.
        filter: (m + 2, 3): sums of the taps.
        output: (m, m + 2): sums of the products.
        once: The product that is in each result once.
    """

    results: int
    input: Array
    filter: Array
    output: Array
    once: int

    @property
    def terms(self) -> int:
        """How many products one tile takes."""
        return len(self.input)


def fast_filter(results: int) -> FastFilter:
    """Return the matrices for `results`, one of `RESULTS`, of a filter of three taps."""
    points = [Fraction(point) for point in _POINTS[results]]
    inputs, filters = [], []
    for point in points:
        others = [other for other in points if other != point]
        norm = _product([Fraction(point - other) for other in others])
        inputs.append([*_polynomial(others), Fraction(0)])
        filters.append([point**tap / norm for tap in range(_TAPS)])
    inputs.append(_polynomial(points))
    filters.append([Fraction(0)] * (_TAPS - 1) + [Fraction(1)])
    outputs = [
        [*(point**row for point in points), Fraction(row == results - 1)]
        for row in range(results)
    ]
    return FastFilter(
        results, _array(inputs), _array(filters), _array(outputs), points.index(Fraction(1))
    )


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Return the coefficients of the product of (x - root), the constant first."""
    result = [Fraction(1)]
    for root in roots:
        raised = [Fraction(0), *result]
        lowered = [*(root * value for value in result), Fraction(0)]
        result = [high - low for high, low in zip(raised, lowered, strict=True)]
    return result


def _product(values: Sequence[Fraction]) -> Fraction:
    result = Fraction(1)
    for value in values:
        result *= value
    return result


def _array(rows: Sequence[Sequence[Fraction]]) -> Array:
    return np.array([[float(value) for value in row] for row in rows])
