"""The report's two tables: before and after, and the layers that went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xprune.explain import wording
from xprune.explain.wording import number_at
from xprune.summary import figures_of


@dataclass(frozen=True)
class ResultRow:
    """One measure before and after.

    Attributes:
        label: What is measured.
        unit: Its unit or a short explanation, may be empty.
        before: The unpruned model's figure.
        after: The pruned model's figure.
        change: From before to after, in per cent of before.
        bars: Both figures in per cent of the larger one, for drawing; None if one is missing.
    """

    label: str
    unit: str
    before: str
    after: str
    change: str
    bars: tuple[float, float] | None


@dataclass(frozen=True)
class RemovedRow:
    """One layer that went, and why."""

    number: int
    layer: str
    type: str
    substitute: str
    score: str
    rank: str
    saved_ms: str
    share: str
    reason: str


def result_rows(
    summary: Mapping[str, Any], *, before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[ResultRow]:
    """Return the main table; `before` and `after` are benchmark results."""
    rows = [
        _row(
            measure, *(number_at(summary, side, *measure.keys) for side in ("before", "after"))
        )
        for measure in (*_accuracies(summary), *_IN_SUMMARY)
    ]
    rows += [
        _row(measure, *(number_at(bench, *measure.keys) for bench in (before, after)))
        for measure in _IN_BENCH
    ]
    return rows


def removed_rows(
    removed: Sequence[Mapping[str, Any]], *, ranks: Mapping[str, tuple[int, int]]
) -> list[RemovedRow]:
    """Return the table of removed layers.

    Args:
        removed: What is known of each layer; `layer` is always there.
        ranks: Layer to its place from the lowest score, and the number of scored layers.
    """
    return [
        RemovedRow(
            number=number,
            layer=str(entry["layer"]),
            type=wording.text_of(entry.get("type")),
            substitute=wording.text_of(entry.get("substitute")),
            score=wording.score(number_at(entry, "score")),
            rank=_rank(ranks.get(str(entry["layer"]))),
            saved_ms=wording.milliseconds(number_at(entry, "saved_s")),
            share=wording.share(number_at(entry, "share")),
            reason=wording.text_of(entry.get("reason")),
        )
        for number, entry in enumerate(removed, start=1)
    ]


@dataclass(frozen=True)
class VariantRow:
    """One input size and precision that was looked at."""

    input: str
    precision: str
    latency: str
    agreement: str
    layers: str
    after: str
    verdict: str
    chosen: bool


def variant_rows(summary: Mapping[str, Any]) -> list[VariantRow]:
    """Return the sizes and precisions that were looked at, in order of latency."""
    chosen = summary.get("variant")
    rows = []
    for entry in wording.items_at(summary, "variants"):
        variant = wording.look_up(entry, "variant")
        is_chosen = variant == chosen
        layers = number_at(entry, "layers")
        refused = wording.look_up(entry, "refused")
        verdict = (
            "chosen" if is_chosen else "not the best" if layers is not None else "not tried"
        )
        rows.append(
            VariantRow(
                input="\N{MULTIPLICATION SIGN}".join(
                    map(wording.text_of, wording.items_at(variant, "size"))
                ),
                precision=wording.text_of(wording.look_up(variant, "precision")),
                latency=wording.fixed(number_at(entry, "latency_ratio"), 3),
                agreement=wording.fixed(number_at(entry, "agreement"), 3),
                layers=wording.MISSING if layers is None else wording.amount(layers),
                after=wording.fixed(number_at(entry, "after"), 3),
                verdict=wording.text_of(refused) if refused else verdict,
                chosen=is_chosen,
            )
        )
    return rows


def saved_in_all(removed: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the sums of the time saved (ms) and of the shares; a gap makes a sum unknown."""
    times = [number_at(entry, "saved_s") for entry in removed]
    shares = [number_at(entry, "share") for entry in removed]
    return wording.milliseconds(_sum(times)), wording.share(_sum(shares))


@dataclass(frozen=True)
class _Measure:
    """A row of the main table: how to word its figures, and where they stand."""

    label: str
    unit: str
    word: Callable[[float | None], str]
    keys: tuple[str, ...]
    gap: str = wording.MISSING


def _accuracy(value: float | None) -> str:
    return wording.fixed(value, 3)


_MEANINGS = {
    "ap": "mean over IoU 0.50 to 0.95",
    "ap50": "at IoU 0.50",
    "top1": "share of pictures whose best class is right",
    "top5": "share of pictures with the right class among the best five",
}


def _accuracies(summary: Mapping[str, Any]) -> list[_Measure]:
    return [
        _Measure(name[:1].upper() + name[1:], _MEANINGS[key], _accuracy, (key,))
        for key, name in figures_of(summary)
    ]


_IN_SUMMARY = (
    _Measure("Latency, median", "ms", wording.milliseconds, ("latency_s", "p50")),
    _Measure("Latency, p90", "ms", wording.milliseconds, ("latency_s", "p90")),
    _Measure("Latency, p99", "ms", wording.milliseconds, ("latency_s", "p99")),
    _Measure("Parameters", "", wording.amount, ("parameters",)),
    _Measure("Multiply-adds", "MACs per picture", wording.amount, ("macs",)),
    _Measure("Size of the file", "", wording.size, ("size_bytes",)),
)
_IN_BENCH = (
    _Measure("Peak memory", "", wording.size, ("peak_memory_bytes",), wording.NOT_MEASURED),
    _Measure("Load time", "ms", wording.milliseconds, ("load_time_s",), wording.NOT_MEASURED),
)


def _row(measure: _Measure, before: float | None, after: float | None) -> ResultRow:
    larger = max(before or 0.0, after or 0.0)
    bars = None
    if before is not None and after is not None and min(before, after) >= 0 and larger > 0:
        bars = (round(100 * before / larger, 2), round(100 * after / larger, 2))
    return ResultRow(
        label=measure.label,
        unit=measure.unit,
        before=measure.gap if before is None else measure.word(before),
        after=measure.gap if after is None else measure.word(after),
        change=wording.change(before, after),
        bars=bars,
    )


def _rank(rank: tuple[int, int] | None) -> str:
    return wording.MISSING if rank is None else f"{rank[0]} of {rank[1]}"


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
