"""Quality against effort: AP of a pruned YOLOv8n by minutes and by pictures of recovery.

    XPRUNE_DATA=... python -m tests.benchmarks.recovery_effort --speedup 1.18 --threads 1

One plan for all arms. Pictures are all that an arm sees: the refit solves on (at most 64 of)
them, and the recovery trains on them or holds them out; none has labels. AP is measured in
PyTorch, on the test pictures. An arm that is in the result is not run again without `--anew`.
Where the longest training still missed clearly less on the pictures that it held out than the
one before it, one of twice its minutes follows, as long as that pays.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from runtime_bench.machine.description import describe_machine
from tests.benchmarks.setting import (
    RESULTS,
    coco_workbench,
    markdown,
    measured_ap,
    write_result,
)
from xprune.attribution.scores import Scores
from xprune.pruning.plan import PrunePlan
from xprune.stages.attribute import compute_scores
from xprune.stages.plan import make_plan, request
from xprune.stages.recover import recover_network
from xprune.stages.solving import prune_detector
from xprune.stages.workbench import Workbench

NAME = "recovery_effort"
PICTURES = 64
MOST_TO_SOLVE_ON = 64
# A longer training pays if it misses less on what is held out, by this share at least.
PAYS = 0.01


@click.command()
@click.option("--minutes", "by_minutes", type=float, multiple=True, default=(0, 1, 5, 20))
@click.option("--pictures", "by_pictures", type=int, multiple=True, default=(16, 64, 256, 1000))
@click.option("--minutes-by-pictures", default=5.0, show_default=True)
@click.option("--speedup", default=1.18, show_default=True)
@click.option("--threads", type=int)
@click.option("--data", help="Labelled test pictures.  [default: coco_val]")
@click.option("--calibration", help="Pictures to recover on.  [default: coco_pool]")
@click.option("--anew", is_flag=True, help="Run every arm again.")
def main(
    by_minutes: tuple[float, ...],
    by_pictures: tuple[int, ...],
    minutes_by_pictures: float,
    *,
    speedup: float,
    anew: bool,
    **given: Any,
) -> None:
    """Print the table and write results/recovery_effort.json, anew after every arm."""
    options = {name: value for name, value in given.items() if value is not None}
    arms = [(minutes, None) for minutes in by_minutes]
    arms += [(minutes_by_pictures, count) for count in by_pictures]
    with tempfile.TemporaryDirectory(prefix="recovery-effort-") as folder:
        place = Path(folder)
        bench = _workbench(place / "plan", PICTURES, speedup=speedup, **options)
        scores = compute_scores(bench)
        made = make_plan(bench, scores, request(bench.run.config))
        content = _begun(bench, made, {"speedup": speedup, **options}, anew=anew)

        def run_arm(minutes: float, count: int | None) -> None:
            key = {"minutes": minutes, "pictures": count}
            if any(key.items() <= row.items() for row in content["arms"]):
                return
            few = min(count or PICTURES, MOST_TO_SOLVE_ON)
            arm = _workbench(
                place / f"{minutes:g}-{count}", few, recover_images=count, **options
            )
            row = key | _recovered(arm, scores, made, minutes)
            click.echo(f"{key}: AP {row['ap']:.4f}", err=True)
            content["arms"].append(row)
            write_result(NAME, content)

        for minutes, count in arms:
            run_arm(minutes, count)
        while still_pays(content["arms"]):
            run_arm(2 * _longest(content["arms"])[-1]["minutes"], None)
    click.echo(markdown(_HEADER, [_shown(row, content) for row in content["arms"]]))


def still_pays(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the longest training on all pictures missed less than the one before it."""
    missed = [row["recovery"]["best_loss"] for row in _longest(rows)]
    return len(missed) > 1 and missed[-1] < (1 - PAYS) * missed[-2]


def _longest(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the trainings on all pictures, the longest last."""
    trained = [row for row in rows if row["minutes"] and row["pictures"] is None]
    return sorted(trained, key=lambda row: row["minutes"])


def _workbench(folder: Path, pictures: int, **options: Any) -> Workbench:
    wanted = {name: value for name, value in options.items() if value is not None}
    return coco_workbench(
        folder, calibration_images=pictures, recover="distill", rewrites="off", **wanted
    )


def _begun(
    bench: Workbench, made: PrunePlan, options: dict[str, Any], *, anew: bool
) -> dict[str, Any]:
    """Return the result with the arms that were run of this plan, or with none."""
    content = {
        "command": "python -m tests.benchmarks.recovery_effort",
        "options": options,
        "removed": [[choice.layer, choice.substitute] for choice in made.choices],
        "machine": describe_machine(),
    }
    path = RESULTS / f"{NAME}.json"
    before = json.loads(path.read_text()) if path.exists() and not anew else {}
    if (before.get("options"), before.get("removed")) == (options, content["removed"]):
        return {**content, "unpruned_ap": before["unpruned_ap"], "arms": before["arms"]}
    return {**content, "unpruned_ap": measured_ap(bench)(), "arms": []}


def _recovered(
    arm: Workbench, scores: Scores, made: PrunePlan, minutes: float
) -> dict[str, Any]:
    """Prune on the arm's pictures, recover, and measure."""
    pruned, _ = prune_detector(arm, scores, made)
    facts: dict[str, Any] = {}
    network = pruned.network
    if minutes:
        recovered = recover_network(arm, network, minutes=minutes)
        network, facts = recovered.network, recovered.facts()
    # What measures AP looks at the workbench's network.
    vars(arm)["detector"] = replace(pruned, network=network)
    return {"ap": measured_ap(arm)(), "recovery": facts}


_HEADER = ("minutes", "pictures", "AP", "of unpruned", "steps")


def _shown(row: dict[str, Any], content: dict[str, Any]) -> list[str]:
    return [
        f"{row['minutes']:g}",
        str(row["pictures"] or "all"),
        f"{row['ap']:.4f}",
        f"{row['ap'] / content['unpruned_ap']:.3f}",
        str(row["recovery"].get("steps", "")),
    ]


if __name__ == "__main__":
    main()
