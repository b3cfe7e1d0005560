"""The choice itself: mildest first, and the best of what was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from runtime_bench.errors import EdgeError
from xprune.config import make_config
from xprune.variants import choose
from xprune.variants.variant import Measured, Variant

GOAL = 0.6
FAST = Measured(Variant((224, 288), "float32"), 0.55, 0.70)
FASTER = Measured(Variant((192, 256), "float32"), 0.45, 0.60)
MILD = Measured(Variant((256, 320), "float32"), 0.65, 0.80)
HARD = Measured(Variant((288, 320), "float32"), 0.80, 0.85)
HARDEST = Measured(Variant((320, 320), "float32"), 0.90, 0.90)


@pytest.mark.parametrize(
    ("after", "tried", "best"),
    [
        ({FAST: 0.70, MILD: 0.75, HARD: 0.72}, [FAST, MILD, HARD], MILD),
        ({FAST: 0.70, MILD: 0.69, HARD: 0.685}, [FAST, MILD, HARD], FAST),
        ({FAST: 0.70, MILD: 0.69, HARD: 0.71, HARDEST: 0.7}, [FAST, MILD, HARD, HARDEST], HARD),
        ({FAST: 0.70, MILD: 0.67}, [FAST, MILD], FAST),
        ({FAST: 0.70, MILD: None, HARD: 0.9}, [FAST, MILD], FAST),
    ],
)
def test_from_mild_to_hard_until_it_gets_worse(
    after: Mapping[Measured, float | None],
    tried: list[Measured],
    best: Measured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A faster one than is needed only loses; what needs layers is tried till it gets worse."""
    asked: list[Measured] = []

    def made_fast(bench: Any, one: Measured, *others: Any, goal: float) -> Measured:
        asked.append(one)
        return replace(one, after=after[one], layers=0 if one == FAST else 1)

    monkeypatch.setattr(choose, "_made_fast", made_fast)
    worse = replace(FAST, latency_ratio=0.56, variant=Variant((256, 256), "float32"))

    done = choose._tried(
        _bench(),
        [HARDEST, FASTER, FAST, worse, MILD, HARD],
        GOAL,
        agreement=SimpleNamespace(),
        run_line=lambda bench, last: None,
    )

    assert asked == tried
    assert choose._best(_bench(), done).variant == best.variant


def test_where_the_first_ones_fail_others_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was refused as slower and no better may still be the only one that works."""
    beaten = replace(MILD, agreement=0.65, variant=Variant((256, 288), "int8"))

    def made_fast(bench: Any, one: Measured, *others: Any, goal: float) -> Measured:
        works = one.variant == beaten.variant
        return replace(one, after=0.6) if works else replace(one, refused="not faster here")

    monkeypatch.setattr(choose, "_made_fast", made_fast)

    done = choose._tried(
        _bench(),
        [FAST, beaten],
        GOAL,
        agreement=SimpleNamespace(),
        run_line=lambda bench, last: None,
    )

    assert [one.variant for one in done] == [FAST.variant, beaten.variant]
    assert choose._best(_bench(), done).variant == beaten.variant


@pytest.mark.parametrize(
    ("recover", "trial", "trained", "best"),
    [
        ("distill", 0.66, 0.72, MILD),  # overtakes what lost no layer
        ("distill", 0.66, 0.69, FAST),
        ("distill", 0.62, None, FAST),  # too far behind
        ("distill", 0.71, None, MILD),  # leads already; the run itself will recover it
        ("refit", 0.66, None, FAST),  # there is nothing to finish
    ],
)
def test_a_cut_one_that_is_near_is_recovered_in_full(
    recover: str,
    trial: float,
    trained: float | None,
    best: Measured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trial has a fifth of the minutes; before it loses, it gets all of them."""
    finished: list[Measured] = []

    def scored(sub: Any, one: Measured, *others: Any) -> Measured:
        finished.append(one)
        return replace(one, after=trained)

    def at_variant(bench: Any, variant: Variant, *, share: float) -> Any:
        assert (variant, share) == (MILD.variant, 1.0)
        return SimpleNamespace(raw_graph=lambda network: b"")

    monkeypatch.setattr(choose, "_scored", scored)
    monkeypatch.setattr(choose, "at_variant", at_variant)
    monkeypatch.setattr(choose, "load_pruned", lambda sub: SimpleNamespace(network=None))
    tried = [
        replace(FAST, after=0.70, layers=0),
        replace(MILD, after=trial, layers=3),
        replace(HARD, after=trial - 0.02, layers=9),
        replace(HARDEST, refused="not reached"),
    ]

    done = choose._best_in_full(
        _bench(recover), tried, agreement=SimpleNamespace(), run_line=lambda bench, last: None
    )

    assert [one.variant for one in finished] == ([MILD.variant] if trained else [])
    assert choose._best(_bench(), done).variant == best.variant


def test_nothing_reaches_it() -> None:
    """The last reason is told."""
    failed = replace(HARD, refused="--speedup 3 was not reached")

    with pytest.raises(
        EdgeError, match=r"no input size .* --speedup 3: 288x320-float32: --spe"
    ):
        choose._best(_bench(), [failed])


def _bench(recover: str = "refit") -> Any:
    config = make_config(
        {"model": "builtin", "imgsz": "auto", "speedup": 3.0, "recover": recover}
    )
    return SimpleNamespace(run=SimpleNamespace(config=config), say=lambda line: None)
