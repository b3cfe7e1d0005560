"""`xprune-edge frontier`: the options, and nothing that is heavy to import."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import click

from runtime_bench.errors import UsageError
from xprune.options import MODEL_OPTIONS, with_options

BUDGETS = (0.8, 0.67)
MINUTES = 5.0


@click.command(
    "frontier",
    epilog="""Examples:

\b
  xprune-edge frontier --model yolov8n.pt --data coco.yaml --budget 0.8 --budget 0.5 --out f
  xprune-edge frontier --method ours --method knobs_only --budget 0.67 --out quick
  xprune-edge frontier --recheck ours --out f

A budget of 0.8 is a latency of 0.8 of the unpruned float model's in plain export.
The same command again continues where it was stopped. Other budgets and methods may be
added later; the result is of all that the folder holds.
""",
)
@with_options(MODEL_OPTIONS)
@click.option("--data", help="Labelled pictures: COCO JSON or data.yaml.  [default: builtin]")
@click.option("--images-dir", help="Where the pictures of a COCO JSON lie.")
@click.option("--calibration", help="Other pictures, which need no labels, to choose by.")
@click.option("--images", type=click.IntRange(1), help="Test pictures.  [default: all]")
@click.option("--calibration-images", type=click.IntRange(1), help="[default: 64]")
@click.option("--conf", type=float, help="Score from which a box counts.  [default: 0.25]")
@click.option("--skip-bad", is_flag=True, default=None, help="List faulty data and go on.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Of onnxruntime.  [default: all]")
@click.option(
    "--budget",
    "budgets",
    type=float,
    multiple=True,
    help="Wanted share of the latency; again for more.  [default: 0.8 and 0.67]",
)
@click.option("--method", "methods", multiple=True, help="Compare only this; again for more.")
@click.option("--recover", help="How every method wins accuracy back.  [default: distill]")
@click.option(
    "--recover-minutes",
    type=float,
    help=f"For how long, each.  [default: {MINUTES:g}]",
)
@click.option(
    "--recheck", metavar="METHOD", help="Make its points anew elsewhere, and compare."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The frontier's folder, new or to be gone on with.",
)
@click.pass_context
def frontier(
    context: click.Context,
    /,
    *,
    out: Path,
    budgets: tuple[float, ...],
    methods: tuple[str, ...],
    recover: str | None,
    recover_minutes: float | None,
    recheck: str | None,
    **options: Any,
) -> None:
    """Show AP against measured latency, ours beside what you could do instead.

    Every method is brought to the same latencies, wins accuracy back in the same way, and is
    exported alike; all are timed in one run. Leaves frontier.json, .md and .html.
    """
    from xprune.extra import need_prune_extra

    need_prune_extra()
    from xprune.config import AUTO, parse_imgsz
    from xprune.frontier.make import make_frontier
    from xprune.frontier.methods import METHODS
    from xprune.frontier.recheck import recheck_points
    from xprune.frontier.settings import FrontierSettings
    from xprune.frontier.table import show_frontier

    if recheck is not None:
        given = [name for name, value in options.items() if value is not None]
        if given or methods or recover or recover_minutes:
            raise UsageError("--recheck takes all but --budget from the frontier's folder")
        if not recheck_points(out, recheck, METHODS, budgets=budgets, say=_say):
            context.exit(1)
        return
    if options["imgsz"] is not None:
        options["imgsz"] = parse_imgsz(options["imgsz"])
        if options["imgsz"] == AUTO:
            raise UsageError(
                "--imgsz is the unpruned model's here, which budgets are shares of; give a "
                "size, or leave it out (ours chooses its own)"
            )
    settings = FrontierSettings(
        options={name: value for name, value in options.items() if value is not None},
        arms=tuple(product(methods or METHODS, budgets or BUDGETS)),
        recover=recover or "distill",
        recover_minutes=MINUTES if recover_minutes is None else recover_minutes,
    )
    content = make_frontier(settings, out, METHODS, say=_say)
    show_frontier(content, out)


def _say(line: str) -> None:
    click.echo(line, err=True)
