"""`xprune-edge`: a table of contents. What is heavy is imported inside the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime_bench.cli import COMMANDS, EdgeGroup
from runtime_bench.errors import UsageError
from xprune.extra import need_prune_extra
from xprune.frontier.cli import frontier
from xprune.options import MODEL_OPTIONS, RUN_OPTIONS, with_options
from xprune.study.cli import study

if TYPE_CHECKING:
    from xprune.run_folder import RunFolder
    from xprune.stages.workbench import Workbench


def _show_version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    from importlib.metadata import PackageNotFoundError, version

    if not wanted or context.resilient_parsing:
        return
    try:
        click.echo(f"xprune-edge {version('xprune-edge')}")
    except PackageNotFoundError:
        raise click.ClickException(
            "this checkout is not installed, so it has no version; see: git log -1"
        ) from None
    context.exit()


@click.group(
    cls=EdgeGroup,
    commands=COMMANDS,
    epilog="""Start here:

\b
  xprune-edge prune-export                        the built-in quick start
  xprune-edge prune-export --model yolov8n.pt --data coco.yaml --speedup 1.25
  xprune-edge predict runs/yolov8n-1/artifact street.jpg
""",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Make a detector or classifier faster on your device, and see why it still works.

    The layers that matter least, for the time they take, are replaced; the result is a verified
    ONNX artifact, measured through onnxruntime.
    """


@main.command(
    "prune-export",
    epilog="""Examples:

\b
  xprune-edge prune-export
  xprune-edge prune-export --model yolov8n.pt --data coco.yaml --speedup 1.25
  xprune-edge prune-export --config configs/yolov8n_coco.toml

The same command again continues where it was stopped.
""",
)
@with_options(RUN_OPTIONS)
def prune_export(**options: Any) -> None:
    """Do the whole line: score, plan, prune, export, measure.

    Without arguments: the built-in detector on built-in pictures, offline, in two minutes.
    """
    run = _run_stages("measure", options, new=True)
    from xprune.summary import show_summary

    show_summary(run.path)


@main.command(
    epilog="""Example:

\b
  xprune-edge attribute --model yolov8n.pt --data coco.yaml --out runs/a
"""
)
@with_options(RUN_OPTIONS)
def attribute(**options: Any) -> None:
    """Score the layers: begins a run and leaves scores.json."""
    run = _run_stages("attribute", options, new=True)
    click.echo(f"Wrote {run.file('scores.json')}; next: xprune-edge plan --out {run.path}")


@main.command(
    epilog="""Examples:

\b
  xprune-edge plan --out runs/a --speedup 1.25
  xprune-edge plan --out runs/a --layers 5
  xprune-edge plan --out runs/a --speedup 1.25 --latency-table pi5.json
"""
)
@with_options(RUN_OPTIONS)
def plan(**options: Any) -> None:
    """Choose what goes: leaves plan.json, which you may edit."""
    run = _run_stages("plan", options)
    click.echo(f"Wrote {run.file('plan.json')}; next: xprune-edge prune --out {run.path}")


@main.command(
    epilog="""Example:

\b
  xprune-edge prune --out runs/a
"""
)
@with_options(RUN_OPTIONS)
def prune(**options: Any) -> None:
    """Cut by the plan and solve the weights: leaves pruned.safetensors."""
    run = _run_stages("prune", options)
    trained = run.config.recover in ("distill", "finetune")
    following = "recover" if trained else "export"
    click.echo(
        f"Wrote {run.file('pruned.safetensors')}; "
        f"next: xprune-edge {following} --out {run.path}"
    )


@main.command(
    epilog="""Examples:

\b
  xprune-edge recover --out runs/a --recover distill
  xprune-edge recover --out runs/a --recover distill --recover-minutes 30
"""
)
@with_options(RUN_OPTIONS)
def recover(**options: Any) -> None:
    """Train what was pruned, with or without labels: leaves recovered.safetensors."""
    from xprune.config import TRAININGS

    run = _run_stages("recover", options)
    if run.config.recover not in TRAININGS:
        raise UsageError(
            f"{run.path} has --recover {run.config.recover}, after which nothing is trained; "
            "add --recover distill, or finetune where the calibration pictures have labels"
        )
    click.echo(
        f"Wrote {run.file('recovered.safetensors')}; next: xprune-edge export --out {run.path}"
    )


@main.command(
    epilog="""Example:

\b
  xprune-edge export --out runs/a
"""
)
@with_options(RUN_OPTIONS)
def export(**options: Any) -> None:
    """Export, simplify, check against PyTorch: leaves the artifact."""
    run = _run_stages("export", options)
    click.echo(f"Wrote {run.file('artifact')}; next: xprune-edge bench {run.file('artifact')}")


@main.command(
    epilog="""Examples:

\b
  xprune-edge layers
  xprune-edge layers --model yolov8n --weights none --imgsz 320 --latency
"""
)
@with_options(MODEL_OPTIONS)
@click.option("--latency", is_flag=True, help="Measure each layer's share of the time as well.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Of onnxruntime.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, not a table.")
def layers(latency: bool, as_json: bool, **options: Any) -> None:
    """List the layers that could go: type, shapes, parameters, multiply-adds."""
    need_prune_extra()
    from xprune.layer_list import list_layers, show_layers

    rows = list_layers(_workbench(options), latency=latency)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        show_layers(rows)


@main.command(
    "latency-table",
    epilog="""Examples:

\b
  xprune-edge latency-table yolov8n.pt --imgsz 320 --out graphs
  xprune-edge latency-table runs/a --out graphs
  xprune-edge latency-table runs/a --out graphs --timings here.json

Then copy the folder to the device and time it there with `xprune-edge time`;
back here, `plan` and `prune-export` take the file as --latency-table.
""",
)
@click.argument("source", metavar="MODEL|RUN|ARTIFACT")
@with_options(MODEL_OPTIONS[1:])
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder for the graphs to be timed.",
)
@click.option(
    "--timings",
    type=click.Path(path_type=Path),
    help="Time them on this machine too, into this file.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="With --timings.  [default: all]")
def latency_table(
    source: str, *, out: Path, timings: Path | None, threads: int | None, **options: Any
) -> None:
    """Make the files that another machine needs to time a model's layers.

    They are the network and copies of it that hold each substitute; `xprune-edge time`, which
    needs no PyTorch, times them there.
    """
    need_prune_extra()
    from xprune.stages.latency import write_graphs

    bench = _workbench_of(source, options)
    write_graphs(bench, out)
    if timings is not None:
        from runtime_bench.progress import track
        from runtime_bench.runtime.settings import SessionSettings
        from runtime_bench.timing.timing_folder import read_folder, time_folder

        folder = read_folder(out)
        times = time_folder(folder, timings, SessionSettings(threads=threads, spinning=False))
        for _ in track(times, label="Timing graphs", total=len(folder.graphs)):
            pass
        click.echo(f"Wrote {timings}; use it with: xprune-edge plan --latency-table {timings}")
    click.echo(
        f"Wrote {out}; next, on the device: xprune-edge time {out.name} --out times.json"
    )


main.add_command(frontier)
main.add_command(study)


def _workbench_of(source: str, options: dict[str, Any]) -> Workbench:
    """Return a workbench for a run's folder, an artifact inside one, or a model alone."""
    from xprune.run_folder import RUN_FILE, open_run
    from xprune.stages.workbench import Workbench

    path = Path(source)
    is_artifact = (path / "manifest.json").is_file()
    run_path = path.absolute().parent if is_artifact else path
    if (run_path / RUN_FILE).is_file():
        return Workbench(
            open_run(run_path, _given(options), stage="attribute", new=False), _say
        )
    if path.is_dir():
        what = "an artifact outside its run" if is_artifact else "a folder without a run"
        raise UsageError(
            f"{source} is {what}, which does not hold the network; name the run or the weights"
        )
    return _workbench({"model": source, **options})


def _run_stages(last: str, options: dict[str, Any], *, new: bool = False) -> RunFolder:
    """Open the run's folder and run the stages up to `last`."""
    need_prune_extra()
    from xprune.config import merged, read_config
    from xprune.run_folder import open_run

    config_file, out = options.pop("config_file"), options.pop("out")
    from_file = read_config(config_file) if config_file else {}
    out_of_file = _path(from_file.pop("out", None), config_file)
    out = out or out_of_file
    if out is None and not new:
        raise UsageError("say which run: --out runs/a, the folder that `attribute` made")
    run = open_run(out, merged(from_file, _given(options)), stage=last, new=new)

    from xprune.pipeline import run_until  # takes seconds; what is above may fail before

    run_until(run, last, _say)
    return run


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, in the form that the configuration takes."""
    from xprune.config import SIZES, parse_imgsz

    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() & set(SIZES):
        given[name] = parse_imgsz(given[name])
    return given


def _path(out: object, config_file: Path) -> Path | None:
    if out is not None and not (isinstance(out, str) and out):
        raise UsageError(f"{config_file}: out is {out!r}, not the path of a folder")
    return Path(out) if out else None


def _say(line: str) -> None:
    click.echo(line, err=True)


def _workbench(options: dict[str, Any]) -> Workbench:
    """Return a workbench for a model alone, without a run's folder."""
    from dataclasses import replace

    from xprune.config import make_config
    from xprune.run_folder import RunFolder
    from xprune.stages.workbench import Workbench

    config = replace(make_config(_given(options)), data=None)
    return Workbench(RunFolder(Path(), config), _say)
