"""Find the plan that delivers what was asked and loses the least, by timing a few plans.

What a table promises and what a plan delivers differ by a few percent, so the wish is moved
until two neighbours are known: a plan that delivers, and the next slower one, which does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from runtime_bench.errors import EdgeError
from xprune.pruning.plan import PrunePlan

# Plans that are timed, and wishes that are tried, at most.
MOST_TIMED = 8
MOST_WISHES = 20
# A plan this much faster than asked may have given away accuracy: a slower one is looked for.
OVERSHOOT = 0.02
# Wishes this close, as a share of the latency, are the same.
NEAR = 0.002


@dataclass
class Known:
    """What the timed plans tell: seconds really saved by seconds promised.

    Attributes:
        goal_s: Seconds that are to be saved.
        low: The fastest plan that misses: (promised, saved) seconds.
        high: The slowest that delivers, or None.
        high_wish_s: No wish from here on gives a slower plan than that.
        slower: The plan of `low`; None while that is the unpruned network.
        best: The plan of `high`.
    """

    goal_s: float
    low: tuple[float, float]
    high: tuple[float, float] | None = None
    high_wish_s: float = float("inf")
    slower: PrunePlan | None = None
    best: PrunePlan | None = None

    def next_wish_s(self) -> float:
        """Return the wish that should just deliver, by the line between what is known."""
        promised_s, saved_s = self.low
        if self.high is None:
            share = min(1.0, max(0.5, saved_s / promised_s)) if promised_s > 0 else 1.0
            wish_s = promised_s + (self.goal_s - saved_s) / share
            return min(wish_s * 1.01, 1.5 * max(promised_s, self.goal_s), self._most())
        slope = (self.high[1] - saved_s) / max(self.high[0] - promised_s, 1e-12)
        wish_s = promised_s + (self.goal_s - saved_s) / slope if slope > 0 else 0.0
        top_s = min(self.high_wish_s, self.high[0])
        tenth_s = 0.15 * (top_s - promised_s)
        return min(max(wish_s, promised_s + tenth_s), top_s - tenth_s)

    def _most(self) -> float:
        """Where a wish was out of reach, go only half as far."""
        if self.high_wish_s == float("inf"):
            return self.high_wish_s
        return (self.low[0] + self.high_wish_s) / 2


@dataclass
class Found:
    """The plan that delivers and its slower neighbour, as far as they were found.

    Attributes:
        best: The slowest plan that delivers, or None.
        slower: The fastest plan that misses; None for the unpruned network.
        timed: How many plans were timed for this.
    """

    best: PrunePlan | None
    slower: PrunePlan | None
    timed: int = field(default=0)


def find_neighbours(
    propose: Callable[[float], PrunePlan],
    saving: Callable[[PrunePlan], float],
    *,
    goal_s: float,
    free_s: float,
    base_s: float,
) -> Found:
    """Return the slowest plan that saves `goal_s` and the next slower one.

    Args:
        propose: Makes the plan that promises at least so many seconds and loses the least.
        saving: Times a plan: the seconds that it saves of `base_s`; called once for each plan.
        goal_s: Seconds to save.
        free_s: Seconds saved without any plan.
        base_s: Latency of the model that all is compared with.

    Raises:
        EdgeError: If no plan promises as much as is wanted.
    """
    known = Known(goal_s, (0.0, free_s))
    enough_s = base_s - (base_s - goal_s) / (1 + OVERSHOOT)
    timed = 0
    wish_s = goal_s - free_s
    if wish_s <= 0:  # shipping another network won so much that none has to save anything
        return Found(None, None)
    for _ in range(MOST_WISHES):
        try:
            made = propose(wish_s)
        except EdgeError:
            if timed == 0:
                raise
            known.high_wish_s = min(known.high_wish_s, wish_s)
        else:
            if known.best is None or made.promised_s < known.best.promised_s:
                timed += 1
                _learn(known, made, saving(made), wish_s)
                if known.high is not None and known.high[1] <= enough_s:
                    break
            else:
                known.high_wish_s = min(known.high_wish_s, wish_s)
        narrow = (
            min(known.high_wish_s, *(known.high or ())[:1]) if known.high else known.high_wish_s
        )
        if timed >= MOST_TIMED or narrow - known.low[0] <= NEAR * base_s:
            break
        wish_s = known.next_wish_s()
    return Found(known.best, known.slower, timed)


def _learn(known: Known, made: PrunePlan, saved_s: float, wish_s: float) -> None:
    """Take a timed plan for one of the two neighbours."""
    if saved_s >= known.goal_s:
        known.best, known.high = made, (made.promised_s, saved_s)
        known.high_wish_s = min(known.high_wish_s, wish_s)
    elif made.promised_s >= known.low[0]:
        known.slower, known.low = made, (made.promised_s, saved_s)
