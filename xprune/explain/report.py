"""Write the HTML report of a run: one file that needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from runtime_bench.files import write_text
from xprune.explain import charts, facts, tables, wording
from xprune.explain.evidence import gather, ranks, score_charts, time_against_score
from xprune.explain.headline import headline
from xprune.explain.pictures import Example, draw_pair
from xprune.explain.wording import as_number, items_at

__all__ = ["Example", "write_report"]

# A percentile that fewer than ten runs lie beyond would be a guess, so there is none.
_RUNS_FOR_P99 = 1000


def write_report(
    path: Path,
    *,
    summary: Mapping[str, Any],
    scores: Mapping[str, Any],
    plan: Mapping[str, Any],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    examples: Sequence[Example],
    names: Sequence[str],
    latency: Mapping[str, Any] | None = None,
    min_score: float = 0.25,
) -> None:
    """Write one self-contained HTML file.

    Everything that comes from outside (names of models, classes, layers, pictures) is shown as
    text, and what is missing is shown as missing.

    Args:
        path: The HTML file; it appears complete or not at all.
        summary: What `summary.json` holds.
        scores: What `scores.json` holds.
        plan: What `plan.json` holds.
        before: The unpruned model's `BenchResult` as JSON; may be empty.
        after: The pruned model's `BenchResult` as JSON; may be empty.
        examples: Pictures to show with boxes.
        names: The model's classes.
        latency: What `latency.json` holds; None when the layers were not timed.
        min_score: Detections below it are not drawn.

    Raises:
        EdgeError: If the file cannot be written.
    """
    sections = {
        **_figures(summary, before=before, after=after),
        **_layers(summary, scores=scores, plan=plan, latency=latency or {}),
        "pairs": [draw_pair(example, names, min_score=min_score) for example in examples],
        "min_score": wording.fixed(min_score, 2),
        "finds_boxes": summary.get("task", "detect") == "detect",
        "environment": facts.environment(summary, scores, before=before, after=after),
        "picture_lists": facts.picture_lists(summary),
        "command": facts.command(summary),
        "licence": facts.copyleft_licence(summary),
    }
    text = templates().get_template("report.html.j2").render(sections)
    # A file name that is no valid UTF-8 holds lone surrogates, which no HTML file can hold.
    write_text(path, text.encode("utf-8", "replace").decode("utf-8"))


def _figures(
    summary: Mapping[str, Any], *, before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, object]:
    samples_s = {"before": _samples(before), "after": _samples(after)}
    return {
        "results": tables.result_rows(summary, before=before, after=after),
        "gaps": (wording.MISSING, wording.NOT_MEASURED),
        "p99_note": any(0 < len(values) < _RUNS_FOR_P99 for values in samples_s.values()),
        "distribution": charts.distribution(samples_s),
    }


def _layers(
    summary: Mapping[str, Any],
    *,
    scores: Mapping[str, Any],
    plan: Mapping[str, Any],
    latency: Mapping[str, Any],
) -> dict[str, object]:
    evidence = gather(summary=summary, scores=scores, plan=plan, latency=latency)
    removed = evidence.removed
    return {
        "headline": headline(summary, removed=len(removed), candidates=len(evidence.parents)),
        "removed": tables.removed_rows(removed, ranks=ranks(evidence)),
        "saved": tables.saved_in_all(removed),
        "substitutes": facts.substitutes_used(removed),
        "variants": tables.variant_rows(summary),
        "plan_facts": facts.plan_facts(summary, plan),
        "scatter": charts.scatter(time_against_score(evidence), chosen=evidence.removed_names),
        "score_charts": score_charts(evidence),
        "criteria": facts.criteria_used(evidence.tables),
    }


def _samples(bench: Mapping[str, Any]) -> list[float]:
    values = map(as_number, items_at(bench, "latency_samples_s", "timed"))
    return [value for value in values if value is not None and value >= 0]


def templates() -> jinja2.Environment:
    """Return the templates; everything printed in them is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("xprune.explain"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
