"""Choose input size, precision and layers together, for the speed that was asked.

Sizes and precisions are what a user reaches for first; a layer goes only where that keeps more.
Every variant of the unpruned model is timed in turn with the base and scored on calibration
pictures. Whoever is fast enough stands as it is; from the others as many layers are replaced as
it takes, mildest first, and recovered for a part of the time where a recovery was asked for.
The best of them is recovered in full where one that lost no layer is only a little better. What
then agrees best with the truth is chosen.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace

from runtime_bench.errors import EdgeError
from xprune.attribution.scores import read_scores
from xprune.config import TRAININGS
from xprune.pruning.plan import read_plan
from xprune.run_folder import VARIANTS_FILE
from xprune.stages.attribute import SCORES_FILE
from xprune.stages.baseline import BASELINE_FOLDER, export_baseline
from xprune.stages.export import load_pruned
from xprune.stages.plan import PLAN_FILE, keep_whole, request
from xprune.stages.rewrites import check_precision, kept_rewrites, shipped_graph
from xprune.stages.workbench import Workbench
from xprune.variants.agreement import Agreement
from xprune.variants.document import read_chosen, settings_of, write_variants
from xprune.variants.folder import at_variant, settled, take_over
from xprune.variants.lineup import Lineup
from xprune.variants.variant import Measured, judged

RunLine = Callable[[Workbench, str], None]

# The one that is fast enough, and those whose layers are replaced, which takes minutes each.
MOST_TRIED = 4
# Of these each is so many times as slow as the one before: what is nearer tells little.
STEP = 1.08
# One that keeps less than this of the best so far ends the trials: the next need more layers.
NEAR = 0.97
# One whose recovery was cut short, and that keeps this of the best, may overtake it in full.
MAY_OVERTAKE = 0.9


def choose_variant(bench: Workbench, run_line: RunLine) -> Workbench:
    """Return a workbench whose input size and precision are settled; leaves `variants.json`.

    Args:
        bench: Of a run that leaves size, precision, or both open.
        run_line: Runs a workbench's stages up to the one that is named.

    Raises:
        EdgeError: If no variant reaches the speed that was asked.
    """
    path, settings = bench.run.file(VARIANTS_FILE), settings_of(bench)
    chosen = read_chosen(path, settings) if path.exists() else None
    if chosen is None:
        export_baseline(bench)
        agreement = Agreement(bench)
        measured, goal = Lineup(bench, request(bench.run.config), agreement).measured()
        _tell(bench, judged(measured, goal), goal)
        tried = _tried(bench, measured, goal, agreement=agreement, run_line=run_line)
        tried = _best_in_full(bench, tried, agreement=agreement, run_line=run_line)
        chosen = _best(bench, tried).variant
        take_over(bench, chosen)
        known = {one.variant: one for one in tried}
        all_of_them = [known.get(one.variant, one) for one in judged(measured, goal)]
        write_variants(path, settings, chosen, all_of_them, goal=goal)
    bench.say(f"Input {chosen.size[0]}x{chosen.size[1]} in {chosen.precision}")
    return settled(bench, chosen)


def _tried(
    bench: Workbench,
    measured: list[Measured],
    goal: float,
    *,
    agreement: Agreement,
    run_line: RunLine,
) -> list[Measured]:
    """Make the most promising variants as fast as is wanted, and score what is left of them.

    Where none of these gets there, the most promising of the others are tried.
    """
    tried: list[Measured] = []
    while not any(one.after is not None for one in tried):
        known = {one.variant for one in tried}
        left = [one for one in measured if one.variant not in known]
        promising = _promising(judged(left, goal), goal)
        if not promising:
            break
        best, best_cut = 0.0, 0.0
        for one in promising:
            done = _made_fast(bench, one, agreement, run_line, goal=goal)
            tried.append(done)
            if done.after is None or done.after < max(NEAR * best, best_cut):
                break  # those that need more layers are left alone
            best = max(best, done.after)
            if done.layers:
                best_cut = done.after
    return tried


def _promising(measured: list[Measured], goal: float) -> list[Measured]:
    """Return what to try: first what is fast enough, then what needs the fewest layers."""
    left = [one for one in measured if not one.refused]
    # In order of latency, each agrees better than the one before it.
    promising = [one for one in left if one.latency_ratio <= goal][-1:]
    least = goal
    for one in left:
        if one.latency_ratio > least:
            promising.append(one)
            least = one.latency_ratio * STEP
    return promising[:MOST_TRIED]


def _made_fast(
    bench: Workbench, one: Measured, agreement: Agreement, run_line: RunLine, *, goal: float
) -> Measured:
    """Replace what has to go for the speed that is wanted, and score what is left."""
    sub = at_variant(bench, one.variant)
    shutil.copytree(
        bench.run.file(BASELINE_FOLDER), sub.run.file(BASELINE_FOLDER), dirs_exist_ok=True
    )
    try:
        if one.latency_ratio <= goal:
            check_precision(sub)
            run_line(sub, "attribute")  # which a report tells, whether layers go or not
            keep_whole(sub, one.latency_ratio)
            raw = sub.unpruned_graph
        else:
            run_line(sub, "recover")
            raw = sub.raw_graph(load_pruned(sub).network)
    except EdgeError as error:
        bench.say(f"  {one.variant.name}: {error}")
        return replace(one, refused=str(error))
    return _scored(sub, one, raw, agreement)


def _scored(sub: Workbench, one: Measured, raw: bytes, agreement: Agreement) -> Measured:
    """Return a variant with what is left of it, by its raw graph."""
    candidates = read_scores(sub.run.file(SCORES_FILE)).candidates
    layers = len(read_plan(sub.run.file(PLAN_FILE), candidates).choices)
    graph = shipped_graph(sub, raw, kept_rewrites(sub), raw=False)
    after = agreement.of(graph, one.variant.size)
    sub.say(f"{layers} layers replaced, agreement {after:.4f}")
    return replace(one, after=after, layers=layers)


def _best_in_full(
    bench: Workbench, tried: list[Measured], *, agreement: Agreement, run_line: RunLine
) -> list[Measured]:
    """Recover for the whole time what may so overtake the one that lost no layer."""
    made = [one for one in tried if one.after is not None]
    cut = max((one for one in made if one.layers), key=_after, default=None)
    whole = max((one for one in made if not one.layers), key=_after, default=None)
    if cut is None or whole is None or bench.run.config.recover not in TRAININGS:
        return tried
    if not MAY_OVERTAKE * _after(whole) <= _after(cut) <= _after(whole):
        return tried
    sub = at_variant(bench, cut.variant, share=1.0)
    run_line(sub, "recover")
    raw = sub.raw_graph(load_pruned(sub).network)
    finished = _scored(sub, cut, raw, agreement)
    return [finished if one is cut else one for one in tried]


def _after(one: Measured) -> float:
    return one.after or 0.0


def _best(bench: Workbench, tried: list[Measured]) -> Measured:
    made = [one for one in tried if one.after is not None]
    if not made:
        why = f": {tried[-1].variant.name}: {tried[-1].refused}" if tried else ""
        raise EdgeError(
            f"no input size and precision reaches {request(bench.run.config)}{why}; "
            "ask for less"
        )
    return max(made, key=_after)


def _tell(bench: Workbench, measured: list[Measured], goal: float) -> None:
    bench.say(f"Wanted: {goal:.3f} of the latency of the unpruned model")
    for one in measured:
        what = f"{one.latency_ratio:.3f} of the latency, agreement {one.agreement:.4f}"
        bench.say(f"  {one.variant.name}: {one.refused or what}")
