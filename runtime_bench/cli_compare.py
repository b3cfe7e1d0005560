"""The commands that compare: artifacts with each other, and one with limits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtime_bench.cli_options import (
    DATA_HELP,
    AnyPath,
    images_dir_option,
    images_option,
    json_option,
    read_data,
    session_options,
    share,
    split_option,
)
from runtime_bench.errors import UsageError
from runtime_bench.terminal import show_columns

if TYPE_CHECKING:
    from runtime_bench.bench.gate import Gated
    from runtime_bench.bench.limits import Limits
    from runtime_bench.bench.result import BenchResult
    from runtime_bench.runtime.settings import SessionSettings

REGRESSION, UNDECIDED = 3, 4
_amount = click.FloatRange(0)


@click.command(
    epilog="""Examples:

\b
  xprune-edge compare runs/a/unpruned runs/a/artifact
  xprune-edge compare yesterday today --data coco/instances.json --within 2%

It ends when every artifact is known to be faster or slower by more than
--within, or the same; intervals hold for all looks together, in 95 % of
comparisons. What is not settled in --max-time is undecided.
"""
)
@click.argument("artifacts", type=AnyPath, nargs=-1, required=True, metavar="A B [C]...")
@click.option("--data", type=AnyPath, help="COCO JSON, data.yaml, or a folder: what they see.")
@images_dir_option
@split_option
@session_options
@click.option(
    "--within",
    type=share,
    default="3%",
    show_default=True,
    metavar="SHARE",
    help="What counts as the same.",
)
@click.option(
    "--max-time",
    type=click.FloatRange(0, 86_400, min_open=True),
    default=30.0,
    show_default=True,
    help="The most seconds, over all of them.",
)
@click.option("--out", type=AnyPath, help="Keep the result, with every sample, in this file.")
@json_option
def compare(
    artifacts: tuple[Path, ...],
    *,
    data: Path | None,
    images_dir: Path | None,
    split: str | None,
    session: SessionSettings,
    within: float,
    max_time: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Time artifacts in turn, in one run: is B faster than A, slower, or the same?"""
    from runtime_bench.bench.report import comparison_lines
    from runtime_bench.bench.side_by_side import compare_artifacts
    from runtime_bench.files import write_json
    from runtime_bench.progress import time_bar

    if math.isnan(max_time):  # the one value that a range lets pass
        raise UsageError("--max-time is no number; pass seconds")
    dataset = read_data(data, images_dir=images_dir, split=split, images=None, skip_bad=False)
    with time_bar("Comparing", max_time) as show:
        found = compare_artifacts(
            artifacts,
            pictures=[] if dataset is None else [one.path for one in dataset.pictures],
            session=session,
            within=within,
            max_time_s=max_time,
            on_round=lambda done_s: show(done_s, "or until it is settled"),
        )
    content = found.to_json()
    if out is not None:
        write_json(out, content)
    if as_json:
        click.echo(json.dumps(content, indent=2))
    else:
        show_columns(comparison_lines(found))


@click.command(
    epilog="""Examples:

\b
  xprune-edge gate new/artifact --reference old/artifact --max-slowdown 5%
  xprune-edge gate new/artifact --reference old/artifact --max-ap-drop 0.005 --data coco.yaml
  xprune-edge gate new/artifact --limits limits.toml --junit gate.xml

It ends with 0 if every limit holds, with 3 if one is broken, and with 4 if the
timings leave it undecided. --reference is measured now, in turn with the
candidate, which is what CI should use; --baseline is a file from
`xprune-edge bench --out`, and serves on the same machine only.
"""
)
@click.argument("candidate", type=AnyPath)
@click.option("--reference", type=AnyPath, help="The artifact to compare with, measured now.")
@click.option("--baseline", type=AnyPath, help="A stored result to compare with instead.")
@click.option("--max-slowdown", type=share, metavar="SHARE", help="Of the median: 5% or 0.05.")
@click.option("--max-ap-drop", type=_amount, help="In AP: 0.005 is half a point.")
@click.option("--max-top1-drop", type=_amount, help="Of a classifier's top-1 accuracy.")
@click.option("--max-latency-ms", type=_amount, help="Median of one inference.")
@click.option("--min-ap", type=click.FloatRange(0, 1), help="AP@[.50:.95] on --data.")
@click.option("--min-top1", type=click.FloatRange(0, 1), help="Top-1 accuracy on --data.")
@click.option("--max-size-mb", type=_amount, help="Of the model file.")
@click.option("--max-memory-mb", type=_amount, help="Peak, of loading and running it.")
@click.option("--limits", "limits_path", type=AnyPath, help="A TOML file of these.")
@click.option("--data", type=AnyPath, help=DATA_HELP)
@images_dir_option
@split_option
@images_option
@session_options
@click.option(
    "--max-time",
    type=click.FloatRange(0, 86_400, min_open=True),
    default=30.0,
    show_default=True,
    help="The most seconds; it ends as soon as it is decided.",
)
@click.option(
    "--undecided",
    type=click.Choice(["fail", "pass"]),
    help="End with 3 or 0 where it is undecided.  [default: 4]",
)
@click.option("--out", type=AnyPath, help="Keep the outcome, with every sample, as JSON.")
@click.option("--markdown", type=AnyPath, help="Add a table to this file: a job's summary.")
@click.option("--junit", type=AnyPath, help="Write a test report that CI systems read.")
@json_option
@click.pass_context
def gate(
    ctx: click.Context,
    /,
    candidate: Path,
    *,
    reference: Path | None,
    baseline: Path | None,
    limits_path: Path | None,
    data: Path | None,
    images_dir: Path | None,
    split: str | None,
    images: int | None,
    session: SessionSettings,
    max_time: float,
    undecided: str | None,
    out: Path | None,
    markdown: Path | None,
    junit: Path | None,
    as_json: bool,
    **given: float | None,
) -> None:
    """Hold CANDIDATE to limits: not slower, not less accurate, not larger."""
    from runtime_bench.bench.gate import check_request, run_gate
    from runtime_bench.bench.gate_report import gate_lines
    from runtime_bench.bench.limits import Limits, merged, read_limits
    from runtime_bench.progress import time_bar

    limits = Limits(**given)
    _refuse_nan(max_time, limits)
    if limits_path is not None:
        limits = merged(read_limits(limits_path), limits)
    stored = None if baseline is None else _read_result(baseline)
    dataset = read_data(data, images_dir=images_dir, split=split, images=images, skip_bad=False)
    check_request(limits, reference=reference, baseline=stored, dataset=dataset)
    with time_bar("Timing", max_time) as show:
        gated = run_gate(
            candidate,
            limits,
            reference=reference,
            baseline=stored,
            dataset=dataset,
            session=session,
            max_time_s=max_time,
            on_round=lambda done_s: show(done_s, "or until it is decided"),
        )
    _leave(gated, out=out, junit=junit, markdown=markdown)
    if as_json:
        click.echo(json.dumps(gated.to_json(), indent=2))
    else:
        show_columns(gate_lines(gated))
        click.echo(f"Gate: {gated.outcome}")
    codes = {"passed": 0, "regression": REGRESSION, "undecided": UNDECIDED}
    if undecided is not None:
        codes["undecided"] = REGRESSION if undecided == "fail" else 0
    ctx.exit(codes[gated.outcome])


def _leave(
    gated: Gated, *, out: Path | None, junit: Path | None, markdown: Path | None
) -> None:
    """Write the files that were asked for; a summary that is there is added to."""
    from runtime_bench.bench.gate_report import junit_of, markdown_of
    from runtime_bench.files import write_json, write_text

    if out is not None:
        write_json(out, gated.to_json())
    if junit is not None:
        write_text(junit, junit_of(gated))
    if markdown is not None:
        before = markdown.read_text(encoding="utf-8") if markdown.exists() else ""
        write_text(markdown, before + markdown_of(gated))


def _refuse_nan(max_time: float, limits: Limits) -> None:
    """Refuse the one value that a range lets pass."""
    for name, value in {"max_time": max_time, **limits.given}.items():
        if math.isnan(value):
            raise UsageError(f"--{name.replace('_', '-')} is no number")


def _read_result(path: Path) -> BenchResult:
    from runtime_bench.bench.result_file import from_json
    from runtime_bench.files import read_json

    return from_json(read_json(path), source=f"'{path}'")
