"""Figures in words: exact texts, units and gaps."""

from __future__ import annotations

import pytest

from xprune.explain import wording

THIN = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (wording.milliseconds(0.0123), "12.30"),
        (wording.milliseconds(0.000504), "0.504"),
        (wording.milliseconds(1.588), f"1{THIN}588.0"),
        (wording.milliseconds(None), "\N{EM DASH}"),
        (wording.share(0.9601), f"96{THIN}%"),
        (wording.share(0.9964), f"99.6{THIN}%"),
        (wording.share(1.0), f"100{THIN}%"),
        (wording.share(0.041), f"4.1{THIN}%"),
        (wording.change(10.0, 8.0), f"{MINUS}20.0{THIN}%"),
        (wording.change(10.0, 10.5), f"+5.0{THIN}%"),
        (wording.change(10.0, 10.0), f"0.0{THIN}%"),
        (wording.change(0.0, 1.0), "\N{EM DASH}"),
        (wording.ratio(1.2512), f"1.25{THIN}\N{MULTIPLICATION SIGN}"),
        (wording.amount(3_151_904), f"3.15{THIN}M"),
        (wording.amount(893e6), f"893{THIN}M"),
        (wording.amount(54.2, unit="\N{DEGREE SIGN}C"), f"54{THIN}\N{DEGREE SIGN}C"),
        (wording.size(12_851_047), f"12.9{THIN}MB"),
        (wording.size(512), f"512{THIN}B"),
        (wording.score(0.07451), "0.0745"),
        (wording.score(1834.2), f"1{THIN}834"),
        (wording.score(0.0000123), f"1.2e{MINUS}5"),
        (wording.score(-2.5), f"{MINUS}2.50"),
        (wording.score(0.0), "0"),
        (wording.fixed(-0.001, 2), "0.00"),
        (wording.interval_at({"x": [1.2318, 1.27]}, "x"), "1.23\N{EN DASH}1.27"),
        (wording.interval_at({"x": [1.2, None]}, "x"), "\N{EM DASH}"),
        (wording.text_of({"a": [1, None], "b": True}), "a: 1, \N{EM DASH}, b: yes"),
        (wording.text_of(12345678), "12345678"),
        (wording.text_of(float("nan")), "\N{EM DASH}"),
    ],
)
def test_figures_read_as_expected(words: str, expected: str):
    """Digits, signs and units are those that a reader sees."""
    assert words == expected
