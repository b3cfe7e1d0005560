"""The commands of the device side, and the one place where an error becomes an exit code."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.terminal import show_columns, show_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime_bench.dataset import Dataset
    from runtime_bench.detections import Detections

INTERRUPTED = 130  # as a shell says it: 128 + SIGINT

AnyPath = click.Path(path_type=Path)


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


def share(text: str) -> float:
    """Return a share of a whole from what people write: `5%` or `0.05`."""
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = math.nan
    if not 0 <= found <= 1:  # which nothing is that is no number
        raise click.BadParameter(f"'{text}' is no share; write 5% or 0.05")
    return found


_threads = click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Threads inside one operation.  [default: all that may be used]",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Write JSON, not a table.")


@click.command(
    epilog="""Examples:

\b
  xprune-edge bench runs/a/artifact
  xprune-edge bench runs/a/artifact --data coco/instances.json --out result.json
"""
)
@click.argument("artifact", type=AnyPath)
@click.option("--data", type=AnyPath, help="COCO JSON, data.yaml, or a folder of pictures.")
@click.option("--images-dir", type=AnyPath, help="Where the pictures of a COCO JSON lie.")
@click.option("--split", help="Which part of a data.yaml: train, val, test.  [default: val]")
@click.option("--images", type=click.IntRange(1), help="Use only the first N pictures.")
@_threads
@click.option("--min-runs", type=click.IntRange(2), default=50, show_default=True)
@click.option(
    "--min-time",
    type=click.FloatRange(0, 86_400),
    default=3.0,
    show_default=True,
    help="The least sum of timed seconds.",
)
@click.option("--out", type=AnyPath, help="Keep the result, with every sample, in this file.")
@_as_json
@click.option("--skip-bad", is_flag=True, help="List faulty pictures and boxes, and go on.")
def bench(
    artifact: Path,
    *,
    data: Path | None,
    images_dir: Path | None,
    split: str | None,
    images: int | None,
    threads: int | None,
    min_runs: int,
    min_time: float,
    out: Path | None,
    as_json: bool,
    skip_bad: bool,
) -> None:
    """Measure the speed, memory and, with labelled --data, the accuracy of ARTIFACT."""
    from runtime_bench.benchmark import BenchSettings, run_benchmark
    from runtime_bench.files import write_json
    from runtime_bench.report import bench_rows

    if math.isnan(min_time):  # the one value that a range lets pass
        raise UsageError("--min-time is no number; pass seconds")
    dataset = _read_data(
        data, images_dir=images_dir, split=split, images=images, skip_bad=skip_bad
    )
    settings = BenchSettings(threads=threads, min_runs=min_runs, min_time_s=min_time)
    result = run_benchmark(artifact, dataset=dataset, settings=settings)
    content = result.to_json()
    if out is not None:
        write_json(out, content)
    if as_json:
        click.echo(json.dumps(content, indent=2))
    else:
        show_table(bench_rows(result))


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
@click.option("--images-dir", type=AnyPath, help="Where the pictures of a COCO JSON lie.")
@click.option("--split", help="Which part of a data.yaml: train, val, test.  [default: val]")
@_threads
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
    help="The most timed seconds, over all of them.",
)
@click.option("--out", type=AnyPath, help="Keep the result, with every sample, in this file.")
@_as_json
def compare(
    artifacts: tuple[Path, ...],
    *,
    data: Path | None,
    images_dir: Path | None,
    split: str | None,
    threads: int | None,
    within: float,
    max_time: float,
    out: Path | None,
    as_json: bool,
) -> None:
    """Time artifacts in turn, in one run: is B faster than A, slower, or the same?"""
    from runtime_bench.files import write_json
    from runtime_bench.progress import time_bar
    from runtime_bench.report import comparison_lines
    from runtime_bench.side_by_side import compare_artifacts

    if math.isnan(max_time):  # the one value that a range lets pass
        raise UsageError("--max-time is no number; pass seconds")
    dataset = _read_data(data, images_dir=images_dir, split=split, images=None, skip_bad=False)
    with time_bar("Comparing", max_time) as show:
        found = compare_artifacts(
            artifacts,
            pictures=[] if dataset is None else [one.path for one in dataset.pictures],
            threads=threads,
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
@_threads
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
    from runtime_bench.detector import load
    from runtime_bench.files import write_json
    from runtime_bench.predict import check_targets, drawn_path, write_drawn
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
  xprune-edge inspect runs/a/artifact
  xprune-edge inspect runs/a/artifact/model.onnx --json
"""
)
@click.argument("artifact", type=AnyPath)
@_as_json
def inspect(artifact: Path, *, as_json: bool) -> None:
    """Say what ARTIFACT is: model, classes, input, output, files, and how it was made."""
    from runtime_bench.manifest import manifest_to_json, read_manifest
    from runtime_bench.report import manifest_rows

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
@_as_json
def doctor(*, as_json: bool) -> None:
    """Say what this machine has and lacks: cores, memory, packages, execution providers."""
    from runtime_bench.doctor import describe_install
    from runtime_bench.report import install_rows

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
@_threads
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
    from runtime_bench.settings import SessionSettings
    from runtime_bench.timing_folder import read_folder, time_folder

    content = read_folder(folder)
    settings = SessionSettings(threads=threads, spinning=False)
    times = time_folder(content, out, settings, runs=runs)
    for _ in track(times, label="Timing graphs", total=len(content.graphs)):
        pass
    click.echo(f"Wrote {out}; next: xprune-edge plan --latency-table {out.name} ...")


COMMANDS: dict[str, click.Command] = {
    "bench": bench,
    "compare": compare,
    "predict": predict,
    "inspect": inspect,
    "time": time_graphs,
    "doctor": doctor,
}


@click.group(cls=EdgeGroup, commands=COMMANDS)
def main() -> None:
    """Run, time and score detectors that xprune-edge exported, on this device."""


def _read_data(
    data: Path | None,
    *,
    images_dir: Path | None,
    split: str | None,
    images: int | None,
    skip_bad: bool,
) -> Dataset | None:
    """Read the pictures that the options of `bench` ask for."""
    from dataclasses import replace

    from runtime_bench.dataset import read_dataset, verify_pictures

    if data is None:
        options = {"--images-dir": images_dir, "--split": split, "--images": images}
        for option, value in options.items():
            if value is not None:
                raise UsageError(f"{option} speaks of pictures, but there are none; add --data")
        return None
    dataset = read_dataset(data, images_dir=images_dir, split=split or "val", skip_bad=skip_bad)
    if images is not None and images > len(dataset.pictures):
        raise UsageError(
            f"--images is {images}, but {data} has {len(dataset.pictures)}; ask for fewer"
        )
    dataset = replace(dataset, pictures=dataset.pictures[:images])
    # Without --skip-bad a bad picture ends the run when its turn comes; no need to look twice.
    return verify_pictures(dataset, skip_bad=True) if skip_bad else dataset


def _predictions(
    pictures: Sequence[Path], found: Sequence[Detections], names: Sequence[str], *, out: Path
) -> dict[str, object]:
    from runtime_bench.predict import drawn_path

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
