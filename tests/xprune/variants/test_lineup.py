"""Which precisions are worth other sizes shows at one size."""

from __future__ import annotations

from xprune.variants.lineup import useful_precisions
from xprune.variants.variant import Variant

FLOAT, HALF, INT8 = (Variant((320, 320), name) for name in ("float32", "float16", "int8"))


def test_what_is_slower_and_no_better_leads_nowhere():
    """Half precision without the hardware for it, and floats where 8 bits lose nothing."""
    ratios = {FLOAT: 0.80, HALF: 0.95, INT8: 0.40}

    assert useful_precisions(ratios, {FLOAT: 0.505, HALF: 0.505, INT8: 0.500}) == [INT8]
    assert useful_precisions(ratios, {FLOAT: 0.505, HALF: 0.505, INT8: 0.450}) == [FLOAT, INT8]


def test_the_only_one_is_useful():
    """There is nothing to compare it with."""
    assert useful_precisions({FLOAT: 1.2}, {FLOAT: 0.1}) == [FLOAT]
