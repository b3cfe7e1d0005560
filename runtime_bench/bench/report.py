"""Say results in words and rounded figures; the only place where units are converted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runtime_bench.accuracy.top_k import ClassAccuracy
from runtime_bench.runtime.providers import has_own_memory
from runtime_bench.timing.statistics import by_minute, percentile

if TYPE_CHECKING:
    from runtime_bench.accuracy.predictions import Scored
    from runtime_bench.artifact.input_spec import InputSpec
    from runtime_bench.artifact.manifest import Manifest
    from runtime_bench.bench.result import BenchResult
    from runtime_bench.bench.side_by_side import SideBySide
    from runtime_bench.runtime.profile import NodeTimes, ProviderShare
    from runtime_bench.timing.latency import LatencySamples

Rows = list[tuple[str, str]]

UNKNOWN = "unknown"
# What was timed for less is no sustained load.
MOST_BURST_MINUTES = 2
# Of a profile's tables.
MOST_LINES = 20


# What was timed, where it was not the given pictures.
_INPUT_WORDS = {
    "noise": "of inputs made up from their shapes",
    "stored pictures": "of the pictures that came with it",
    "grey and noise": "of a made-up picture (grey and noise); pass --data",
}


def bench_rows(result: BenchResult) -> Rows:
    """Return the rows (what, figure) of a benchmark's table."""
    artifact = result.artifact
    rows = [
        ("model", f"{artifact.model_name}, {megabytes(artifact.size_bytes)}"),
        ("input", f"{_size(artifact.input_size)} px (height x width)"),
        ("runs on", f"{result.provider}, {_count(result.threads, 'thread')}"),
        *_provider_rows(result.providers or {}),
    ]
    if result.accuracy is not None:
        rows += accuracy_rows(result.accuracy)
    elif result.data is not None:
        rows.append(("accuracy", "not measured: the data has no labels"))
    rows.append(("latency", _latency_text(result.latency)))
    if result.latency_input in _INPUT_WORDS:
        rows.append(("", _INPUT_WORDS[result.latency_input]))
    if has_own_memory(result.provider):
        rows.append(("", "of the device alone: input and output stay in its memory"))
    rows += _sustained_rows(result)
    if result.throughput is not None:
        streams = _count(result.throughput.streams, "stream")
        rows.append(("throughput", f"{result.throughput.per_second:.1f} a second, {streams}"))
    if result.end_to_end is not None:
        rows.append(("file to boxes", _latency_text(result.end_to_end)))
    rows += _process_rows(result)
    if result.data is not None and result.data.skipped:
        rows.append(("skipped", _count(len(result.data.skipped), "entry", "entries")))
        rows += [("", line) for line in result.data.skipped]
    for doubt in result.doubts:
        rows += [("doubt", doubt.what), ("", f"try: {doubt.hint}")]
    return rows


def _sustained_rows(result: BenchResult) -> Rows:
    """Return how the first minute differs from the last, where it was timed for several."""
    minutes = by_minute(result.latency.timed_s)
    if len(minutes) < MOST_BURST_MINUTES:
        return []
    first_s, last_s = (percentile(minute, 50) for minute in (minutes[0], minutes[-1]))
    assert first_s is not None
    assert last_s is not None
    text = f"p50 {ms(first_s)} in the first minute, {ms(last_s)} in the last"
    heat = [one.temperature_c for one in result.readings if one.temperature_c is not None]
    warm = f", up to {max(heat):.0f} degrees Celsius" if heat else ""
    return [("sustained", f"{text} ({last_s / first_s - 1:+.1%}){warm}")]


def _process_rows(result: BenchResult) -> Rows:
    """Return what is of the process and the machine rather than of one inference."""
    rows = [("load, first run", f"{ms(result.load_time_s)}, {ms(result.first_run_s)}")]
    if result.build_time_s is not None:
        rows.append(("", f"and {result.build_time_s:.1f} s to build its engine, once"))
    text = megabytes(result.peak_memory_bytes)
    if result.fresh_start is not None:
        start = result.fresh_start
        parts = f"import {ms(start.import_s)}, load {ms(start.load_s)}"
        rows.append(("cold start", f"{ms(start.total_s)} to the first result ({parts})"))
        if start.peak_bytes is not None:
            text += f" (load {megabytes(start.load_bytes)}, run {megabytes(start.run_bytes)})"
    rows.append(("peak memory", text))
    if result.fresh_without_arena is not None:
        without = megabytes(result.fresh_without_arena.peak_bytes)
        rows.append(("", f"{without} where onnxruntime gives back what it allocated"))
    if result.energy_j is not None:
        rows.append(("energy", f"{result.energy_j:.3g} J an inference, the machine included"))
    if result.overhead_s is not None:
        share = result.overhead_s / result.latency.statistics.p50
        rows.append(("harness", f"{result.overhead_s * 1e6:.0f} us of each time ({share:.2%})"))
    return rows


def accuracy_rows(scored: Scored) -> Rows:
    """Return the rows (what, figure) of average precision, or of top-1 and top-5 accuracy."""
    if isinstance(scored, ClassAccuracy):
        low, high = scored.top1_interval
        count = _count(scored.pictures, "picture")
        return [
            ("top-1", f"{scored.top1:.4f} ({low:.4f} to {high:.4f} with 95 %, of {count})"),
            ("top-5", f"{scored.top5:.4f}"),
        ]
    of = f"{_count(scored.pictures, 'picture')}, {_count(scored.boxes, 'box', 'boxes')}"
    return [
        ("AP@[.50:.95]", f"{scored.ap:.4f} (of {of})"),
        ("AP50, AP75", f"{scored.ap50:.4f}, {scored.ap75:.4f}"),
    ]


def _provider_rows(providers: Mapping[str, ProviderShare]) -> Rows:
    """Return what each provider ran, where it was not one for all."""
    if len(providers) < 2:
        return []
    return [
        ("", f"{name}: {_count(share.nodes, 'node')}, {share.time_share:.0%} of the time")
        for name, share in providers.items()
    ]


def profile_tables(profile: NodeTimes) -> list[list[tuple[str, ...]]]:
    """Return two tables, each with its head: by operation, and the slowest layers."""
    return [
        _profile_table(what, found, profile.total_s or 1.0)
        for what, found in (("operation", profile.by_op_type), ("layer", profile.by_layer))
    ]


def _profile_table(
    what: str, found: Mapping[str, tuple[int, float]], total_s: float
) -> list[tuple[str, ...]]:
    """Return the slowest entries, how many nodes each has and its seconds; then the rest."""
    entries = list(found.items())
    rest = [figures for _, figures in entries[MOST_LINES:]]
    shown = entries[:MOST_LINES]
    if rest:
        counts, times_s = zip(*rest, strict=True)
        shown.append((f"{len(rest)} more", (sum(counts), sum(times_s))))
    lines = [
        (name, str(count), f"{time_s * 1e3:.3f}", f"{time_s / total_s:.1%}")
        for name, (count, time_s) in shown
    ]
    return [(what, "nodes", "ms", "share"), *lines]


def comparison_lines(found: SideBySide) -> list[tuple[str, ...]]:
    """Return the lines of a comparison's table, its head first."""
    head = ("artifact", "input", "median", "ratio", "interval", "")
    lines: list[tuple[str, ...]] = [head]
    standings = [None, *zip(found.compared.found, found.verdicts, strict=True)]
    for path, facts, times_s, standing in zip(
        found.paths, found.artifacts, found.compared.times_s, standings, strict=True
    ):
        shown = (path, _size(facts.input_size), ms(percentile(times_s, 50)))
        if standing is None:
            lines.append((*shown, "1", "", ""))
            continue
        stands, verdict = standing
        low, high = stands.interval
        words = f"same (within {found.within * 100:g}%)" if verdict == "same" else verdict
        lines.append((*shown, f"{stands.ratio:.3f}", f"{low:.3f} to {high:.3f}", words))
    return lines


def manifest_rows(manifest: Manifest) -> Rows:
    """Return the rows (what, value) that say what an artifact is."""
    spec, output = manifest.input, manifest.output
    names = ", ".join(manifest.names[:10])
    if len(manifest.names) > 10:
        names = f"{names}, ..."
    if output.kind == "scores":
        answer = f"{', '.join(output.names)}: of each class, all together 1"
    elif output.decoder is None:
        answer = f"{', '.join(output.names)}; {output.max_boxes} boxes at most"
    else:
        answer = f"{', '.join(output.names)}, for the decoder '{output.decoder}'"
    rows = [
        ("model", f"{manifest.model_name} (family {manifest.family})"),
        ("task", manifest.task),
        ("licence", manifest.licence),
        ("classes", f"{len(manifest.names)}: {names}"),
        ("input", f"{spec.name}, {_size(spec.size)} px (height x width), {spec.dtype}"),
        ("preparation", _preparation(spec)),
        ("output", answer),
        ("precision", manifest.precision),
        ("scores", f"from {output.min_score:g}; worth showing from {manifest.display_score:g}"),
    ]
    for name, entry in sorted(manifest.files.items()):
        rows.append((name, f"{megabytes(entry.size_bytes)}, sha256 {entry.sha256[:12]}..."))
    rows += [(f"parity {key}", _short(value)) for key, value in manifest.parity.items()]
    rows += [(f"made: {key}", _short(value)) for key, value in manifest.provenance.items()]
    return rows


def _preparation(spec: InputSpec) -> str:
    how = f"{spec.resize}, {spec.interpolation}"
    if spec.resize == "crop":
        how = f"shorter side to {spec.shorter_px} px, {spec.interpolation}, the middle of it"
    elif spec.resize == "letterbox":
        how = f"{how}, padded with {spec.pad_value}"
    elif spec.resize == "fit":
        how = f"{how}, at the left top, padded with the mean"
    return how


def machine_rows(machine: Mapping[str, object]) -> Rows:
    """Return the rows (what, value) of `describe_machine`, with units people use."""
    return [_machine_row(key, value) for key, value in machine.items()]


def install_rows(install: Mapping[str, Any]) -> Rows:
    """Return the rows (what, value) of `describe_install`; what is lacking comes last."""
    rows = machine_rows(install["machine"])
    for package in install["packages"]:
        version = package["version"] or "not installed"
        part = "" if package["brought_by"] == "base" else f" (extra '{package['brought_by']}')"
        rows.append((package["name"], f"{version}{part}"))
    providers = install["providers"]
    rows.append(("providers", UNKNOWN if providers is None else ", ".join(providers)))
    rows += [
        (f"provider {name}", f"not here; it comes with: {words}")
        for name, words in install["other_providers"].items()
    ]
    lacking = install["lacking"] or ["nothing"]
    rows += [("lacking" if index == 0 else "", line) for index, line in enumerate(lacking)]
    return rows


def ms(time_s: float | None) -> str:
    """Return a time in milliseconds, with three figures or one decimal."""
    if time_s is None:
        return UNKNOWN
    time_ms = time_s * 1000
    return f"{time_ms:.2f} ms" if time_ms < 10 else f"{time_ms:.1f} ms"


def megabytes(size_bytes: int | None) -> str:
    """Return a size in megabytes of a million bytes."""
    return UNKNOWN if size_bytes is None else f"{size_bytes / 1e6:.1f} MB"


def _machine_row(key: str, value: object) -> tuple[str, str]:
    name, _, unit = key.rpartition("_")
    if unit not in ("bytes", "hz", "c"):
        name, unit = key, ""
    text = UNKNOWN if value is None else str(value)
    if isinstance(value, (list, tuple)):
        text = ", ".join(map(str, value)) or "no"
    if isinstance(value, (int, float)):
        text = {
            "bytes": f"{value / 1e6:.0f} MB",
            "hz": f"{value / 1e9:.2f} GHz",
            "c": f"{value:.0f} degrees Celsius",
            "": f"{value:g}",
        }[unit]
    return name.replace("_", " "), text


def _latency_text(samples: LatencySamples) -> str:
    found = samples.statistics
    given = [("p50", found.p50), ("p90", found.p90), ("p95", found.p95), ("p99", found.p99)]
    shown = [f"{name} {ms(value)}" for name, value in given if value is not None]
    text = ", ".join([*shown, f"max {ms(found.max)}"])
    return f"{text} (of {_count(len(samples.timed_s), 'run')})"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
