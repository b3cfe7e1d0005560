"""How long does the choice of layers take, and how close to its bound does it come?

    python -m tests.benchmarks.knapsack

200 candidates, nested, with 6 options each, from easy ones to those that are made to be hard:
the closer costs follow savings, the more choices are nearly as good as the best.
"""

from __future__ import annotations

import time

import click
import numpy as np

from tests.benchmarks.setting import markdown, write_result
from xprune.pruning.knapsack import Option, choose, most_saved_s

CANDIDATES, OPTIONS = 200, 6
BAR_S = 2.0
# What is added to a cost that is in proportion to the saving, as a share of the largest one.
NOISE = {"unrelated": None, "noise of 10 %": 0.1, "noise of 1 %": 0.01, "proportional": 0.0}


@click.command()
@click.option("--seeds", default=5, show_default=True)
def main(seeds: int) -> None:
    """Print the table and write results/knapsack.json; fail if the bar is missed."""
    results = {kind: [_timed(kind, seed) for seed in range(seeds)] for kind in NOISE}
    write_result("knapsack", {"command": "python -m tests.benchmarks.knapsack", **results})
    rows = [
        [kind, f"{np.median(times_s):.2f}", f"{max(times_s):.2f}"]
        for kind, times_s in results.items()
    ]
    click.echo(markdown(("costs and savings", "median s", "longest s"), rows))
    longest_s = max(max(times_s) for times_s in results.values())
    if longest_s >= BAR_S:
        raise click.ClickException(f"{longest_s:.2f} s is above the bar of {BAR_S:g} s")


def _timed(kind: str, seed: int) -> float:
    """Return the seconds that one choice takes."""
    parents, options = problem(kind, seed)
    wanted_s = 0.3 * most_saved_s(parents, options)
    start_s = time.perf_counter()
    chosen = choose(parents, options, wanted_s)
    elapsed_s = time.perf_counter() - start_s
    assert chosen is not None
    assert sum(option.saved_s for option in chosen) >= wanted_s * (1 - 1e-12)
    return elapsed_s


def problem(kind: str, seed: int) -> tuple[dict[str, str | None], list[Option]]:
    """Return layers, of which three in five lie inside another one, and their options."""
    generator = np.random.default_rng(seed)
    parents: dict[str, str | None] = {}
    options = []
    for index in range(CANDIDATES):
        inside = index > 0 and generator.random() < 0.6
        around = f"l{max(0, index - int(generator.integers(1, 8)))}"
        parents[f"l{index}"] = around if inside else None
        for number in range(OPTIONS):
            saved_s, drawn = generator.uniform(1e-5, 1e-3), generator.random()
            noise = NOISE[kind]
            cost = drawn if noise is None else 1e3 * saved_s + noise * drawn
            options.append(Option(f"l{index}", str(number), cost, saved_s))
    return parents, options


if __name__ == "__main__":
    main()
