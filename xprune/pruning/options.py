"""What could be done with each layer: what it would cost by a criterion, and what it saves."""

from __future__ import annotations

from collections.abc import Iterable

from xprune.attribution.criteria import needs_substitute
from xprune.attribution.scores import Scores
from xprune.layers.candidates import Candidate, nearest_ancestor
from xprune.layers.substitutes import applicable
from xprune.pruning.knapsack import Option
from xprune.pruning.latency_table import LatencyTable

# A node's time repeats within a microsecond or two; a smaller saving may be none at all.
LEAST_SHARE = 0.002


def parents_of(scores: Scores) -> dict[str, str | None]:
    """Return each layer's parent among the layers, parents before their children."""
    # Not `candidate.parent`: a layer that nothing can replace here was not scored.
    names = [candidate.name for candidate in scores.candidates]
    return {name: nearest_ancestor(name, names) for name in names}


def timed_options(
    scores: Scores, table: LatencyTable, criterion: str, substitute: str
) -> Iterable[Option]:
    """Yield what could be done, where it saves enough to be sure that it saves anything."""
    for candidate in scores.candidates:
        if not is_scored(candidate, criterion):
            continue
        for name in applicable(candidate, substitute):
            score = score_of(scores, candidate, criterion, name)
            saved_s = table.saved_s(candidate.name, name)
            if saved_s >= LEAST_SHARE * table.base_s:
                yield Option(candidate.name, name, score, saved_s)


def is_scored(candidate: Candidate, criterion: str) -> bool:
    """Whether a criterion says anything of a candidate; an activation has no weights."""
    return not candidate.activation or needs_substitute(criterion)


def score_of(scores: Scores, candidate: Candidate, criterion: str, substitute: str) -> float:
    """Return a layer's importance, for a substitute where the criterion looks at it."""
    table = scores.table(criterion, substitute if needs_substitute(criterion) else None)
    return table.layers[candidate.name].mean
