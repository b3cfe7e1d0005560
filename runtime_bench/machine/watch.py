"""Watch the machine while something is measured: readings before, during and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from runtime_bench.machine.kernel_files import ROOT
from runtime_bench.machine.readings import Reading, read_state

# A reading takes about a millisecond: one in this many seconds is nothing.
EVERY_S = 2.0
MOST_READINGS = 10_000


@dataclass
class Watch:
    """Takes readings of a machine.

    Attributes:
        root: Where `proc` and `sys` are; tests pass a made-up tree.
        clock: A monotonic clock in seconds.
        every_s: Seconds between readings.
        readings: All that were taken, in order.
    """

    root: Path = ROOT
    clock: Callable[[], float] = time.perf_counter
    every_s: float = EVERY_S
    readings: list[Reading] = field(default_factory=list)
    _start_s: float | None = None

    def look(self) -> None:
        """Take a reading now."""
        now_s = self.clock()
        if self._start_s is None:
            self._start_s = now_s
        self.readings.append(read_state(now_s - self._start_s, root=self.root))

    def glance(self) -> None:
        """Take a reading if the last one is old enough; cheap enough for every run."""
        if not self.readings or (
            len(self.readings) < MOST_READINGS
            and self.clock() - (self._start_s or 0.0) - self.readings[-1].at_s >= self.every_s
        ):
            self.look()


def energy_j(readings: Sequence[Reading]) -> float | None:
    """Return the joules that the machine used from the first reading to the last.

    From counters where there are any, else from the power that a meter on the board showed.
    What the machine uses when it does nothing is part of it.

    Returns:
        None without a meter, or where a counter began anew.
    """
    counted = [reading.energy_j for reading in readings if reading.energy_j is not None]
    if len(counted) == len(readings) >= 2:
        grew = all(before <= after for before, after in pairwise(counted))
        return counted[-1] - counted[0] if grew else None
    metered = [
        (reading.at_s, reading.power_w) for reading in readings if reading.power_w is not None
    ]
    if len(metered) < 2:
        return None
    return sum(
        (first_w + second_w) / 2 * (second_s - first_s)
        for (first_s, first_w), (second_s, second_w) in pairwise(metered)
    )
