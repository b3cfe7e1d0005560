"""Say what a gate found: on a terminal, in Markdown for a job's summary, and as JUnit XML."""

from __future__ import annotations

from xml.etree import ElementTree

from runtime_bench.bench.gate import Check, Gated, option
from runtime_bench.bench.report import UNKNOWN

# What a limit limits, how its figures are shown, and by what they are multiplied for that.
WORDS = {
    "max_slowdown": ("latency, change", "{:+.1f} %", 100.0),
    "max_ap_drop": ("AP lost", "{:.4f}", 1.0),
    "max_top1_drop": ("top-1 accuracy lost", "{:.4f}", 1.0),
    "max_latency_ms": ("median latency", "{:.2f} ms", 1.0),
    "min_ap": ("AP", "{:.4f}", 1.0),
    "min_top1": ("top-1 accuracy", "{:.4f}", 1.0),
    "max_size_mb": ("size of the model", "{:.1f} MB", 1.0),
    "max_memory_mb": ("peak memory", "{:.0f} MB", 1.0),
}
HEAD = ("what", "measured", "sure to be", "limit", "")


def gate_lines(gated: Gated) -> list[tuple[str, ...]]:
    """Return the lines of a gate's table, its head first."""
    return [HEAD, *(_line(check) for check in gated.checks)]


def markdown_of(gated: Gated) -> str:
    """Return a heading and a table in Markdown, with what it was measured on."""
    lines = [
        f"### Gate: {gated.outcome}",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + " --- |" * len(HEAD),
        *("| " + " | ".join(_line(check)) + " |" for check in gated.checks),
        "",
        f"{_name(gated)} on {gated.machine.get('cpu') or 'an unknown processor'}, "
        f"{gated.provider}, threads: {gated.threads}"
        + (f", timed on {gated.latency_input}" if gated.latency_input else ""),
    ]
    return "\n".join(lines) + "\n"


def junit_of(gated: Gated) -> str:
    """Return JUnit XML with one test case for each limit; what is undecided is an error."""
    outcomes = [check.outcome for check in gated.checks]
    suite = ElementTree.Element(
        "testsuite",
        name="xprune-edge gate",
        tests=str(len(outcomes)),
        failures=str(outcomes.count("regression")),
        errors=str(outcomes.count("undecided")),
    )
    for check in gated.checks:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_name(gated), name=option(check.name)
        )
        what, measured, sure, limit, _ = _line(check)
        message = f"{what}: {measured} ({sure}), limit {limit}"
        if check.outcome == "regression":
            ElementTree.SubElement(case, "failure", message=message)
        elif check.outcome == "undecided":
            ElementTree.SubElement(case, "error", message=f"undecided: {message}")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _name(gated: Gated) -> str:
    return f"{gated.candidate.model_name} {gated.candidate.sha256[:12]}"


def _line(check: Check) -> tuple[str, ...]:
    what, form, factor = WORDS[check.name]

    def shown(value: float | None) -> str:
        return UNKNOWN if value is None else form.format(factor * value)

    sure = "exact"
    if check.interval is not None:
        sure = " to ".join(shown(end) for end in check.interval)
    elif check.value is None:
        sure = UNKNOWN
    bound = "at least" if check.name.startswith("min") else "at most"
    return (what, shown(check.value), sure, f"{bound} {shown(check.limit)}", check.outcome)
