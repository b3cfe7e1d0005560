"""Which sizes hit a latency: none that matters is missed, none is tried without need."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.data.pictures import Picture
from xprune.frontier.sizes import SizeTimes, likely_sizes, shown_scale

BASE = (320, 320)


def picture(height: int, width: int) -> Picture:
    """Return a picture of a size, without boxes."""
    bare = np.zeros((0, 4), np.float32)
    return Picture("p", Path("p"), (height, width), bare, np.zeros(0, int), np.zeros(0, bool))


LANDSCAPE = [(480, 640), (427, 640)]


def test_portrait_inputs_are_no_use_for_landscape_pictures() -> None:
    """They show the pictures smaller than a landscape input of the same area."""
    sizes = likely_sizes(BASE, 32, LANDSCAPE)

    assert (256, 320) in sizes
    assert (224, 320) in sizes
    assert all(height <= width for height, width in sizes)
    assert all(side % 32 == 0 for size in sizes for side in size)


def test_where_any_side_will_do_not_every_one_is_tried() -> None:
    """Steps are a fortieth of the base at least, rounded up to the stride; 32 stays 32."""
    sides = {side for size in likely_sizes((300, 300), 4, [(300, 300)]) for side in size}

    assert all(side % 8 == 0 for side in sides)
    assert {side for size in likely_sizes((1280, 1280), 32, LANDSCAPE) for side in size} >= {
        992,
        1024,
        1056,
    }


def test_no_size_that_is_left_out_shows_pictures_larger() -> None:
    """For each of them there is one of no more area that shows them at least as large."""
    kept = likely_sizes(BASE, 32, LANDSCAPE)
    left_out = [
        (height, width)
        for height in range(128, 401, 32)
        for width in range(128, 401, 32)
        if (height, width) not in kept
    ]

    for size in left_out:
        smaller = [other for other in kept if other[0] * other[1] <= size[0] * size[1]]
        assert max(shown_scale(other, LANDSCAPE) for other in smaller) >= shown_scale(
            size, LANDSCAPE
        )


class Measured(SizeTimes):
    """Sizes whose latency follows their area, with a share that does not."""

    def __init__(self, folder: Path, *, least_px: int = 0) -> None:
        pictures = [picture(*size) for size in LANDSCAPE]
        bench = SimpleNamespace(
            size=BASE,
            spec=InputSpec(size=BASE),
            takes=lambda size: min(size) >= least_px,
            detector=SimpleNamespace(stride=32),
            sets=SimpleNamespace(calibration=SimpleNamespace(pictures=pictures)),
        )
        ground: Any = SimpleNamespace(
            bench=bench,
            folder=folder,
            say=lambda line: None,
            latency_ratio=lambda artifact, size: 0.1 + 0.72 * size[0] * size[1] / 320**2,
        )
        super().__init__(ground, "float32")
        self.exported: list[tuple[int, int]] = []

    def artifact(self, size: tuple[int, int]) -> Path:
        """Note what would have been exported."""
        self.exported.append(size)
        return Path()


def test_all_sizes_near_a_budget_are_found_and_few_others_are_exported(tmp_path: Path) -> None:
    """Their true latencies are within 2 % above and 6 % below."""
    sizes = Measured(tmp_path)

    found = sizes.near(0.6)

    true = {
        size: 0.1 + 0.72 * size[0] * size[1] / 320**2
        for size in likely_sizes(BASE, 32, LANDSCAPE)
    }
    assert set(found) == {size for size, ratio in true.items() if 0.564 <= ratio <= 0.612}
    assert found
    assert len(sizes.exported) <= len(found) + 5


def test_sizes_that_the_network_cannot_take_are_not_tried(tmp_path: Path) -> None:
    """Some lose their last map in a small input; what is left may be slower than asked."""
    sizes = Measured(tmp_path, least_px=288)

    found = sizes.near(0.6)

    assert found
    assert all(min(size) >= 288 for size in [*found, *sizes.exported])


def test_sizes_are_timed_once(tmp_path: Path) -> None:
    """What is known of a size is read from its folder."""
    Measured(tmp_path).near(0.6)
    again = Measured(tmp_path)

    assert again.near(0.6)
    assert again.exported == []


def test_a_budget_between_two_sizes_gives_both(tmp_path: Path) -> None:
    """Where nothing hits it, the nearest one above and the nearest one below are shown."""
    sizes = Measured(tmp_path)
    true = sorted(
        0.1 + 0.72 * size[0] * size[1] / 320**2 for size in likely_sizes(BASE, 32, LANDSCAPE)
    )
    gap = max(range(1, len(true)), key=lambda place: true[place] / true[place - 1])

    found = sizes.near(true[gap] / 1.025)

    assert sorted(found.values()) == pytest.approx(true[gap - 1 : gap + 1])


def test_a_budget_below_all_sizes_gives_the_smallest(tmp_path: Path) -> None:
    """It is off its budget, and the point will say so."""
    assert len(Measured(tmp_path).near(0.05)) == 1
