"""`xprune-edge study`: the options, and nothing that is heavy to import."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

CONFIG = Path("configs/study_paper.toml")


@click.command(
    "study",
    epilog="""Examples:

\b
  xprune-edge study --data-root data --out s
  xprune-edge study mine.toml --out s
  xprune-edge study --only resnet50 --only yolov8n --data-root data --out s

The same command again continues where it was stopped. configs/README.md says what a
study file holds.
""",
)
@click.argument("config", type=click.Path(path_type=Path), default=CONFIG, required=False)
@click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Where the paths in CONFIG start.  [default: here]",
)
@click.option("--only", "names", multiple=True, help="Only this architecture; again for more.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The study's folder, new or to be gone on with.",
)
def study(config: Path, *, data_root: Path, names: tuple[str, ...], out: Path) -> None:
    """Make the seed paper's table: criteria against each other, with a control.

    CONFIG lists architectures; without it, configs/study_paper.toml. For each, layers are
    chosen by each criterion and zeroed or removed, beside our own default: accuracy,
    latency, parameters, multiply-adds, and how much the choices agree. Leaves study.json,
    .md and .html.
    """
    from xprune.extra import need_prune_extra

    need_prune_extra()
    from xprune.study.config import only, read_study

    wanted = read_study(config)
    entries = only(wanted, names)

    from xprune.study.make import make_study  # takes seconds; what is above may fail before
    from xprune.study.table import show_study

    content = make_study(
        wanted,
        entries,
        out,
        root=data_root,
        command=_command(config, names),
        say=lambda line: click.echo(line, err=True),
    )
    show_study(content, out)


def _command(config: Path, names: tuple[str, ...]) -> str:
    """Return what makes the study again; where data lies differs from machine to machine."""
    words = ["xprune-edge", "study", str(config)]
    for name in names:
        words += ["--only", name]
    return shlex.join([*words, "--data-root", "DATA", "--out", "FOLDER"])
