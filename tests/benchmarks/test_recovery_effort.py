"""When a longer training pays."""

from __future__ import annotations

from tests.benchmarks.recovery_effort import still_pays


def row(minutes: float, missed: float | None, pictures: int | None = None) -> dict[str, object]:
    """Return an arm as the result has it."""
    recovery = {} if missed is None else {"best_loss": missed}
    return {"minutes": minutes, "pictures": pictures, "recovery": recovery}


def test_it_pays_while_the_longest_misses_clearly_less():
    """A hundredth at least; the arm without a training does not count."""
    assert still_pays([row(0, None), row(20, 0.097), row(5, 0.1)])
    assert not still_pays([row(0, None), row(5, 0.1), row(20, 0.0995)])


def test_arms_on_some_pictures_do_not_count():
    """Nor is one training alone compared with anything."""
    assert not still_pays([row(0, None), row(5, 0.1), row(5, 0.01, pictures=16)])
