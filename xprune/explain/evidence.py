"""What the files of a run say together about each layer: scores, plan, times, summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xprune.explain import charts, wording
from xprune.explain.wording import as_number, items_at, look_up, number_at

Json = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The layers of a run, with their scores and their times.

    Attributes:
        parents: Each candidate's enclosing candidate or None; in network order.
        removed: What is known of each removed layer; `layer` is always there.
        tables: The score tables, as `scores.json` has them.
        latency: The latency table; empty when no layer was timed.
        criterion: The criterion that the plan used.
    """

    parents: Mapping[str, str | None]
    removed: tuple[Json, ...]
    tables: tuple[Json, ...]
    latency: Json
    criterion: object

    @property
    def removed_names(self) -> list[str]:
        """Return the removed layers in the order of their table."""
        return [entry["layer"] for entry in self.removed]


def gather(*, summary: Json, scores: Json, plan: Json, latency: Json) -> Evidence:
    """Join the files; what one of them lacks may stand in another."""
    return Evidence(
        parents={
            str(entry["name"]): entry.get("parent")
            for entry in _mappings(scores, "candidates")
            if entry.get("name") is not None
        },
        removed=_removed([*_mappings(plan, "choices"), *_mappings(summary, "removed")]),
        tables=tuple(_mappings(scores, "scores")),
        latency=latency,
        criterion=plan.get("criterion", summary.get("criterion")),
    )


def ranks(evidence: Evidence) -> dict[str, tuple[int, int]]:
    """Return each removed layer's place from the lowest score, and the number of scores."""
    found = {}
    for entry in evidence.removed:
        means = _means(_deciding_table(evidence, entry.get("substitute")), ())
        if entry["layer"] in means:
            own = means[entry["layer"]][0]
            lower = sum(mean < own for mean, _ in means.values())
            found[entry["layer"]] = (lower + 1, len(means))
    return found


def time_against_score(evidence: Evidence) -> dict[str, tuple[float, float]]:
    """Return seconds saved and score per layer: as removed, or with its best substitute."""
    points = {}
    for layer in evidence.parents:
        options = _options(evidence, layer)
        if options:
            # Where the score does not tell substitutes apart, the cheapest is the best.
            value, saved_s = min(options, key=lambda option: (option[0], -option[1]))
            points[layer] = (saved_s, value)
    for entry in evidence.removed:
        chosen_s, chosen = number_at(entry, "saved_s"), number_at(entry, "score")
        if chosen_s is not None and chosen is not None:
            points[entry["layer"]] = (chosen_s, chosen)
    return points


def score_charts(evidence: Evidence) -> list[charts.BarChart]:
    """Return one bar chart per score table; the table that decided most is the selected one."""
    order = list(evidence.parents)
    found = [(table, _means(table, order)) for table in evidence.tables]
    shown = [(table, means) for table, means in found if means]
    uses = Counter(entry.get("substitute") for entry in evidence.removed)
    weights = [
        (table.get("criterion") == evidence.criterion, uses[table.get("substitute")])
        for table, _ in shown
    ]
    first = max(range(len(weights)), key=weights.__getitem__, default=0)
    kinds = _kinds(evidence)
    return [
        charts.bar_chart(_chart_label(table), means, kinds=kinds, selected=index == first)
        for index, (table, means) in enumerate(shown)
    ]


def _mappings(value: Json, key: str) -> list[Json]:
    return [entry for entry in items_at(value, key) if isinstance(entry, Mapping)]


def _removed(entries: Sequence[Json]) -> tuple[Json, ...]:
    joined: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if entry.get("layer") is not None:
            known = {key: value for key, value in entry.items() if value is not None}
            layer = str(entry["layer"])
            joined.setdefault(layer, {}).update({**known, "layer": layer})
    return tuple(joined.values())


def _means(table: Json, order: Sequence[str]) -> dict[str, tuple[float, float | None]]:
    """Return mean and standard deviation of every scored layer, in network order."""
    layers = table.get("layers")
    if not isinstance(layers, Mapping):
        return {}
    # A layer that is no candidate is shown too, at the end.
    known = [name for name in dict.fromkeys([*order, *layers]) if name in layers]
    means = {name: number_at(layers, name, "mean") for name in known}
    return {
        name: (mean, number_at(layers, name, "std"))
        for name, mean in means.items()
        if mean is not None
    }


def _deciding_table(evidence: Evidence, substitute: object) -> Json:
    """Return the plan's scores for `substitute`; some criteria have one table for all."""
    for table in evidence.tables:
        fits = table.get("substitute") in (None, substitute)
        if fits and table.get("criterion") == evidence.criterion:
            return table
    return {}


def _options(evidence: Evidence, layer: str) -> list[tuple[float, float]]:
    base_s = number_at(evidence.latency, "layers", layer)
    times = look_up(evidence.latency, "substitutes", layer)
    if base_s is None or not isinstance(times, Mapping):
        return []
    options = []
    for substitute, raw_time in times.items():
        time_s = as_number(raw_time)
        table = _deciding_table(evidence, substitute)
        value = number_at(table, "layers", layer, "mean")
        if time_s is not None and value is not None:
            options.append((value, base_s - time_s))
    return options


def _kinds(evidence: Evidence) -> dict[str, str]:
    """Return `removed` for the layers that went, and `inside` for what was inside them."""
    kinds = dict.fromkeys(evidence.removed_names, "removed")
    for name in evidence.parents:
        above, seen = evidence.parents[name], {name}
        # A file that was edited may name a parent in a circle.
        while above is not None and above not in seen:
            if kinds.get(above) == "removed":
                kinds.setdefault(name, "inside")
            seen.add(above)
            above = evidence.parents.get(above)
    return kinds


def _chart_label(table: Json) -> str:
    criterion = wording.text_of(table.get("criterion"))
    substitute = table.get("substitute")
    return criterion if substitute is None else f"{criterion}, {wording.text_of(substitute)}"
