"""The commands of the device side, and the one place where an error becomes an exit code."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime_bench.cli_compare import compare, gate
from runtime_bench.cli_options import (
    DATA_HELP,
    AnyPath,
    images_dir_option,
    images_option,
    json_option,
    read_data,
    session_options,
    shape,
    split_option,
    threads_option,
)
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.terminal import show_columns, show_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime_bench.artifact.detections import Detections
    from runtime_bench.runtime.settings import SessionSettings

SUSTAINED_S = 600.0
INTERRUPTED = 130  # as a shell says it: 128 + SIGINT


class ShownError(click.ClickException):
    """An error as the terminal shows it: `Error: ...` on one line."""

    def __init__(self, error: EdgeError) -> None:
        super().__init__(" ".join(str(error).split()))


class ShownUsageError(ShownError):
    """The same for a command that asks for something that cannot be."""

    exit_code = 2


class EdgeGroup(click.Group):
    """The error boundary: commands raise, this turns it into words and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an `EdgeError` exits with 1, a `UsageError` with 2."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            raise ShownUsageError(error) from error
        except EdgeError as error:
            raise ShownError(error) from error
        except KeyboardInterrupt:
            click.echo("Interrupted", err=True)
            ctx.exit(INTERRUPTED)


@click.command(
    epilog="""Examples:

\b
  xprune-edge bench runs/a/artifact
  xprune-edge bench runs/a/artifact --data coco/instances.json --out result.json
  xprune-edge bench runs/a/artifact --sustained --threads 2 --cpus 2-3
  xprune-edge bench yolov8n.onnx --data coco.yaml --profile
  xprune-edge bench any.onnx --shape 8x3x224x224

ARTIFACT may be any ONNX file. What Ultralytics exported is scored as well; of
others, inputs are made up from their shapes.
"""
)
@click.argument("artifact", type=AnyPath)
@click.option("--data", type=AnyPath, help=DATA_HELP)
@images_dir_option
@split_option
@images_option
@session_options
@click.option("--min-runs", type=click.IntRange(2), default=50, show_default=True)
@click.option(
    "--min-time",
    type=click.FloatRange(0, 86_400),
    default=3.0,
    show_default=True,
    help="The least sum of timed seconds.",
)
@click.option(
    "--shape",
    "shapes",
    type=shape,
    multiple=True,
    metavar="[NAME=]SIDES",
    help="Of an input whose sides are not fixed: 1x3x640x640; may be given again.",
)
@click.option("--sustained", is_flag=True, help="Time for 10 minutes: with the heat it makes.")
@click.option("--streams", type=click.IntRange(1, 256), help="Also: throughput of N at a time.")
@click.option(
    "--predictions",
    type=AnyPath,
    help="Keep what is found in each picture of --data here; go on where it was stopped.",
)
@click.option("--profile", is_flag=True, help="Also: time by operation, layer and node.")
@click.option(
    "--spinning/--no-spinning",
    default=True,
    show_default=True,
    help="Idle threads wait actively: faster, and hotter.",
)
@click.option("--out", type=AnyPath, help="Keep the result, with every sample, in this file.")
@json_option
@click.option("--skip-bad", is_flag=True, help="List faulty pictures and boxes, and go on.")
def bench(
    artifact: Path,
    *,
    data: Path | None,
    images_dir: Path | None,
    split: str | None,
    images: int | None,
    session: SessionSettings,
    min_runs: int,
    min_time: float,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    sustained: bool,
    streams: int | None,
    predictions: Path | None,
    profile: bool,
    spinning: bool,
    out: Path | None,
    as_json: bool,
    skip_bad: bool,
) -> None:
    """Measure the speed, memory and, with labelled --data, the accuracy of ARTIFACT."""
    from runtime_bench.bench.benchmark import BenchSettings, run_benchmark
    from runtime_bench.bench.report import bench_rows, profile_tables
    from runtime_bench.bench.unfinished import marked
    from runtime_bench.files import write_json

    if math.isnan(min_time):  # the one value that a range lets pass
        raise UsageError("--min-time is no number; pass seconds")
    dataset = read_data(
        data, images_dir=images_dir, split=split, images=images, skip_bad=skip_bad
    )
    settings = BenchSettings(
        threads=session.threads,
        min_runs=min_runs,
        min_time_s=max(min_time, SUSTAINED_S) if sustained else min_time,
        spinning=spinning,
        streams=streams,
        profile=profile,
        shapes=shapes,
        provider=session.provider,
        provider_options=session.provider_options,
    )
    if predictions is not None and dataset is None:
        raise UsageError("--predictions speaks of pictures, but there are none; add --data")
    with marked(out, say=lambda line: click.echo(line, err=True)):
        result = run_benchmark(
            artifact, dataset=dataset, settings=settings, predictions=predictions
        )
    content = result.to_json()
    if out is not None:
        write_json(out, content)
    if as_json:
        click.echo(json.dumps(content, indent=2))
    else:
        show_table(bench_rows(result))
        for lines in [] if result.profile is None else profile_tables(result.profile):
            show_columns(lines)


@click.command(
    epilog="""Examples:

\b
  xprune-edge predict runs/a/artifact street.jpg
  xprune-edge predict runs/a/artifact *.jpg --out drawn --json boxes.json
"""
)
@click.argument("artifact", type=AnyPath)
@click.argument("pictures", type=AnyPath, nargs=-1, required=True, metavar="PICTURE...")
@click.option(
    "--out",
    type=AnyPath,
    default=Path("predictions"),
    show_default=True,
    help="The folder for the pictures with their boxes.",
)
@click.option("--conf", type=click.FloatRange(0, 1), help="Show boxes from this score on.")
@click.option("--json", "json_path", type=AnyPath, help="Write the boxes here, not to stdout.")
@threads_option
def predict(
    artifact: Path,
    *,
    pictures: tuple[Path, ...],
    out: Path,
    conf: float | None,
    json_path: Path | None,
    threads: int | None,
) -> None:
    """Find objects in each PICTURE: boxes as JSON, and drawn into copies of the pictures."""
    from runtime_bench.artifact.detector import load
    from runtime_bench.artifact.predict import check_targets, drawn_path, write_drawn
    from runtime_bench.files import write_json
    from runtime_bench.progress import track

    check_targets(pictures, out, json_path=json_path)
    detector = load(artifact, threads=threads, min_score=conf)
    # All first, then drawn: a bad picture leaves nothing half done.
    found = [detector(picture) for picture in track(pictures, label="Detecting")]
    for picture, detections in zip(pictures, found, strict=True):
        write_drawn(picture, drawn_path(picture, out), detections, names=detector.names)
    content = _predictions(pictures, found, detector.names, out=out)
    if json_path is None:
        click.echo(json.dumps(content, indent=2))
    else:
        write_json(json_path, content)
        rows = [
            (picture.name, f"{len(d)} box" if len(d) == 1 else f"{len(d)} boxes")
            for picture, d in zip(pictures, found, strict=True)
        ]
        show_table([*rows, ("drawn in", str(out)), ("boxes in", str(json_path))])


@click.command(
    epilog="""Examples:

\b
  xprune-edge score found.jsonl --data coco/instances.json
  xprune-edge score found.jsonl --data data.yaml --split test --json
"""
)
@click.argument("predictions", type=AnyPath)
@click.option(
    "--data", type=AnyPath, required=True, help="Labelled: COCO JSON, data.yaml, or classes."
)
@images_dir_option
@split_option
@images_option
@json_option
def score(
    predictions: Path,
    *,
    data: Path,
    images_dir: Path | None,
    split: str | None,
    images: int | None,
    as_json: bool,
) -> None:
    """Score PREDICTIONS, made by `bench --predictions` elsewhere, against labels here."""
    from dataclasses import asdict

    from runtime_bench.accuracy.prediction_log import read_predictions
    from runtime_bench.accuracy.predictions import score_predictions
    from runtime_bench.bench.report import accuracy_rows

    dataset = read_data(data, images_dir=images_dir, split=split, images=images, skip_bad=False)
    assert dataset is not None, "--data is required"
    found = score_predictions(read_predictions(predictions), dataset)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        show_table(accuracy_rows(found))


@click.command(
    epilog="""Examples:

\b
  xprune-edge inspect runs/a/artifact
  xprune-edge inspect runs/a/artifact/model.onnx --json
"""
)
@click.argument("artifact", type=AnyPath)
@json_option
def inspect(artifact: Path, *, as_json: bool) -> None:
    """Say what ARTIFACT is: model, classes, input, output, files, and how it was made."""
    from runtime_bench.artifact.manifest import manifest_to_json, read_manifest
    from runtime_bench.bench.report import manifest_rows

    manifest = read_manifest(artifact)
    if as_json:
        click.echo(json.dumps(manifest_to_json(manifest), indent=2))
    else:
        show_table(manifest_rows(manifest))


@click.command(
    epilog="""Examples:

\b
  xprune-edge doctor
  xprune-edge doctor --json
"""
)
@json_option
def doctor(*, as_json: bool) -> None:
    """Say what this machine has and lacks: cores, memory, packages, execution providers."""
    from runtime_bench.bench.report import install_rows
    from runtime_bench.doctor import describe_install

    install = describe_install()
    if as_json:
        click.echo(json.dumps(install, indent=2))
    else:
        show_table(install_rows(install))


@click.command(
    "time",
    epilog="""Examples:

\b
  xprune-edge time graphs --out pi5.json
  xprune-edge time graphs --out pi5.json --threads 4 --runs 20

FOLDER comes from `xprune-edge latency-table`; the file goes back to
`xprune-edge plan --latency-table pi5.json`. A timing that was stopped goes on
with the same command.
""",
)
@click.argument("folder", type=AnyPath)
@click.option("--out", type=AnyPath, required=True, help="Where the timings go.")
@threads_option
@click.option(
    "--runs",
    type=click.IntRange(5, 10_000),
    default=60,
    show_default=True,
    help="Runs of each graph at most; slow ones make fewer.",
)
def time_graphs(folder: Path, *, out: Path, threads: int | None, runs: int) -> None:
    """Time the graphs in FOLDER on this machine, for a plan made elsewhere."""
    from runtime_bench.progress import track
    from runtime_bench.runtime.settings import SessionSettings
    from runtime_bench.timing.timing_folder import read_folder, time_folder

    content = read_folder(folder)
    settings = SessionSettings(threads=threads, spinning=False)
    times = time_folder(content, out, settings, runs=runs)
    for _ in track(times, label="Timing graphs", total=len(content.graphs)):
        pass
    click.echo(f"Wrote {out}; next: xprune-edge plan --latency-table {out.name} ...")


COMMANDS: dict[str, click.Command] = {
    "bench": bench,
    "compare": compare,
    "gate": gate,
    "predict": predict,
    "score": score,
    "inspect": inspect,
    "time": time_graphs,
    "doctor": doctor,
}


@click.group(cls=EdgeGroup, commands=COMMANDS)
def main() -> None:
    """Run, time and score detectors that xprune-edge exported, on this device."""


def _predictions(
    pictures: Sequence[Path], found: Sequence[Detections], names: Sequence[str], *, out: Path
) -> dict[str, object]:
    from runtime_bench.artifact.predict import drawn_path

    return {
        "format": "xprune-edge predictions",
        "version": 1,
        "pictures": [
            {
                "picture": str(picture),
                "drawn": str(drawn_path(picture, out)),
                "detections": detections.to_json(names),
            }
            for picture, detections in zip(pictures, found, strict=True)
        ],
    }
