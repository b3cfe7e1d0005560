"""Whoever is slower and no better is refused, with both figures."""

from __future__ import annotations

from xprune.variants.variant import Measured, Variant, judged, refuse_dominated


def _measured(width: int, ratio: float, agreement: float) -> Measured:
    return Measured(Variant((320, width), "float32"), ratio, agreement)


def test_slower_and_worse_is_refused() -> None:
    """The order is that of latency, whatever it was."""
    fast, slow, wasted = (
        _measured(224, 0.5, 0.6),
        _measured(320, 0.8, 0.7),
        _measured(288, 0.6, 0.55),
    )

    result = refuse_dominated([slow, wasted, fast])

    assert result[0] == fast
    assert result[2] == slow
    assert result[1].refused == (
        "slower and no better than 320x224-float32: 0.600 of the latency against 0.500, "
        "agreement 0.5500 against 0.6000"
    )


def test_of_equals_one_stays() -> None:
    """The faster one, or with the same latency the better one."""
    first, second = _measured(224, 0.5, 0.6), _measured(256, 0.5, 0.7)
    third = _measured(288, 0.6, 0.7)

    result = refuse_dominated([third, first, second])

    assert [one.variant.size[1] for one in result if not one.refused] == [256]


def test_what_layers_cannot_give_is_refused() -> None:
    """A plan that has to leave less than 0.62 of the time is not made."""
    near, far = _measured(288, 0.8, 0.7), _measured(320, 1.0, 0.8)

    result = judged([far, near], goal=0.5)

    assert [one.refused for one in result] == [
        None,
        "too slow: layers would have to leave 0.50 of its time, and a plan is asked for 0.62 "
        "at least",
    ]
