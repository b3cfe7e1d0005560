"""A plan by a number of layers: those of the lowest score, whatever time they take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtime_bench.errors import EdgeError
from xprune.attribution.scores import Scores
from xprune.layers.candidates import Candidate, nested
from xprune.layers.substitutes import REMOVED, applicable, substitute_macs
from xprune.pruning.knapsack import Option
from xprune.pruning.options import is_scored, score_of
from xprune.pruning.plan import PrunePlan, Request, choice_of


def plan_by_count(
    scores: Scores, *, criterion: str, substitute: str, asked: Request
) -> PrunePlan:
    """Take the candidates of the lowest score, none inside another.

    One that holds so much of the network that too few are left beside it is passed over.

    Args:
        scores: From `attribute`.
        criterion: A key of `CRITERIA`.
        substitute: A key of `SUBSTITUTES`, or `auto` for each layer's best of those that remove
            it; a richer one only makes it cheaper, which is not what is counted.
        asked: With `layers` or `fraction` set.

    Raises:
        EdgeError: If more is asked for than there is.
    """
    pool = [
        candidate
        for candidate in scores.candidates
        if counted(candidate, substitute) and is_scored(candidate, criterion)
    ]
    if asked.fraction is not None:
        pool = [candidate for candidate in pool if candidate.convolution]
    count = wanted_count(scores.candidates, asked)
    best = sorted(
        (cheapest(scores, candidate, criterion, substitute) for candidate in pool),
        key=lambda option: option.cost,
    )
    chosen = _lowest(best, count)
    if len(chosen) < count:
        raise EdgeError(
            f"{asked} asks for {count} layers, only {len(chosen)} can go with the substitute "
            f"'{substitute}'; ask for fewer or choose another substitute"
        )
    reasons = {
        option.layer: f"number {rank} from below of {len(pool)} by {criterion}"
        for rank, option in enumerate(best, start=1)
    }
    order = [candidate.name for candidate in scores.candidates]
    chosen.sort(key=lambda option: order.index(option.layer))
    choices = tuple(choice_of(scores, option, reasons[option.layer]) for option in chosen)
    return PrunePlan(criterion, asked, choices)


def _lowest(best: Sequence[Option], count: int) -> list[Option]:
    """Return the first options, none inside another, as far as `count` can be reached."""
    chosen: list[Option] = []
    left = list(best)
    while left and len(chosen) < count:
        option = left.pop(0)
        beside = [other for other in left if not nested(option.layer, other.layer)]
        if len(chosen) + 1 + _most(beside) >= min(count, len(chosen) + 1 + _most(left)):
            chosen.append(option)
            left = beside
    return chosen


def _most(options: Sequence[Option]) -> int:
    """Return how many of the options can be taken, none inside another: the innermost ones."""
    layers = {option.layer for option in options}
    return sum(not any(other.startswith(f"{layer}.") for other in layers) for layer in layers)


def wanted_count(candidates: Sequence[Candidate], asked: Request) -> int:
    """Return how many layers are asked for; a share of the convolutions is rounded up."""
    if asked.fraction is None:
        return asked.layers or 0
    convolutions = sum(candidate.convolution for candidate in candidates)
    return math.ceil(asked.fraction * convolutions - 1e-9)  # 0.07 * 100 is above 7


def cheapest(scores: Scores, candidate: Candidate, criterion: str, substitute: str) -> Option:
    """Return the substitute of least score; see `plan_by_count`, and `counted` that has any."""
    options = [
        Option(candidate.name, name, score_of(scores, candidate, criterion, name), 0.0)
        for name in counted(candidate, substitute)
    ]
    return min(options, key=lambda option: option.cost)


def counted(candidate: Candidate, substitute: str) -> tuple[str, ...]:
    """Return the substitutes that count as a layer gone.

    Of `auto` the richer ones do not, and none that computes as much as the layer: scores alone
    would choose those first, since they change least.
    """
    names = applicable(candidate, substitute)
    return tuple(
        name
        for name in names
        if (substitute != "auto" or name in REMOVED)
        and (not candidate.macs or substitute_macs(candidate, name) < candidate.macs)
    )
