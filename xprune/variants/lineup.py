"""Which variants of the unpruned model are there, how fast is each, and how good?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from exporters.keep_faster import clock_for
from runtime_bench.progress import track
from runtime_bench.timing.compare import time_in_turn
from xprune.config import AUTO, PRECISIONS
from xprune.pruning.plan import Request
from xprune.stages.baseline import BASELINE_MODEL
from xprune.stages.rewrites import kept_rewrites, shipped_graph
from xprune.stages.timed_plan import MARGIN
from xprune.stages.workbench import Workbench
from xprune.variants.agreement import Agreement
from xprune.variants.folder import at_other_size, at_variant
from xprune.variants.sizes import wanted_shapes, worthy_sizes
from xprune.variants.variant import LEAST_FROM_LAYERS, Measured, Variant

# A variant this much faster than asked only loses accuracy.
TOO_FAST = 0.75
MOST_SIZES = 16
# A precision that agrees with the truth as well as this share of another's is as good.
AS_GOOD = 0.98
ROUNDS = 80

Ratios = dict[Variant, float]


@dataclass(frozen=True)
class Exported:
    """The unpruned model as a variant ships it, and with NMS: the same unless it ships raw."""

    shipped: bytes
    judged: bytes


class Lineup:
    """Measures the variants of one run, all in turn with the unpruned base."""

    def __init__(self, bench: Workbench, asked: Request, agreement: Agreement) -> None:
        self._bench = bench
        self._asked = asked
        self._agreement = agreement

    def measured(self) -> tuple[list[Measured], float]:
        """Return the variants, and the share of the base's latency that is wanted."""
        base = self._bench.base_size
        graphs = {
            variant: self._exported(variant)
            for variant in (Variant(base, name) for name in self._precisions())
        }
        ratios, goal = self._timed(graphs)
        agreements = self._agreements(graphs)
        useful = useful_precisions(ratios, agreements)
        for at_base in sorted(useful, key=lambda one: ratios[one]):
            known = [Measured(one, ratios[one], agreements[one]) for one in graphs]
            wanted = [
                variant
                for variant in self._worthy(at_base, ratios, goal)
                if variant not in graphs and not outdone(variant, at_base, known)
            ]
            for variant in track(wanted, label=f"Exporting sizes in {at_base.precision}"):
                graphs[variant] = self._exported(variant)
            if wanted:
                self._bench.say(f"Timing {len(graphs)} variants in turn")
                ratios, goal = self._timed(graphs)
                agreements |= self._agreements({one: graphs[one] for one in wanted})
        return [Measured(one, ratios[one], agreements[one]) for one in graphs], goal

    def _agreements(self, graphs: Mapping[Variant, Exported]) -> dict[Variant, float]:
        roughly = self._agreement.roughly
        return {one: roughly(graph.judged, one.size) for one, graph in graphs.items()}

    def _precisions(self) -> tuple[str, ...]:
        precision = self._bench.run.config.precision
        return PRECISIONS if precision == AUTO else (precision,)

    def _worthy(self, at_base: Variant, ratios: Ratios, goal: float) -> list[Variant]:
        """Return the variants of one precision that may be worth it for the speed wanted."""
        bench, ratio = self._bench, ratios[at_base]
        if bench.run.config.imgsz != AUTO:
            return [replace(at_base, size=bench.size)]
        worthy = worthy_sizes(
            at_base.size,
            bench.detector.stride,
            wanted_shapes(at_base.size, bench.spec.resize, bench.sets.calibration.pictures),
            least=TOO_FAST * goal / ratio,
            most=goal / ratio / LEAST_FROM_LAYERS,
        )
        sizes = [size for size in worthy if bench.takes(size)]
        step = -(-len(sizes) // MOST_SIZES)
        return [replace(at_base, size=size) for size in sizes[:: step or 1]]

    def _exported(self, variant: Variant) -> Exported:
        bench = at_variant(self._bench, variant)
        if variant.size != bench.base_size:
            at_base = at_variant(self._bench, replace(variant, size=bench.base_size))
            at_other_size(bench, at_base)
        graph, kept = bench.unpruned_graph, kept_rewrites(bench)
        shipped = shipped_graph(bench, graph, kept)
        if not bench.run.config.raw:
            return Exported(shipped, judged=shipped)
        return Exported(shipped, judged=shipped_graph(bench, graph, kept, raw=False))

    def _timed(self, graphs: Mapping[Variant, Exported]) -> tuple[Ratios, float]:
        """Return the share of the base's latency that each takes, and the share wanted."""
        bench = self._bench
        arms = [
            bench.base_runner(bench.run.file(BASELINE_MODEL)),
            *(
                bench.runner(graph.shipped, bench.images_at(variant.size))
                for variant, graph in graphs.items()
            ),
        ]
        times_s = time_in_turn(
            arms,
            min_rounds=ROUNDS,
            min_time_s=2.0,
            max_time_s=60.0,
            seed=bench.run.config.seed,
            clock=clock_for(bench.session),
        )
        base_s, *others_s = map(np.asarray, times_s)
        speedup = self._asked.wanted_speedup(float(np.median(base_s)))
        assert speedup is not None, "checked with the options"
        goal = 1 / (speedup * (1 + MARGIN))
        # Within each round, since what slows a machine down for a while slows all of it.
        ratios = [float(np.median(own_s / base_s)) for own_s in others_s]
        return dict(zip(graphs, ratios, strict=True)), goal


def useful_precisions(
    ratios: Mapping[Variant, float], agreements: Mapping[Variant, float]
) -> list[Variant]:
    """Return the variants, one of each precision and all of one size, that lead somewhere.

    What is slower than another one at the same size, and agrees no better to speak of, is no
    better at any other size.
    """
    return [
        one
        for one in ratios
        if not any(
            ratios[other] < ratios[one] and agreements[other] >= AS_GOOD * agreements[one]
            for other in ratios
        )
    ]


def outdone(variant: Variant, at_base: Variant, known: Sequence[Measured]) -> bool:
    """Return whether a variant is slower and no better than one of another precision.

    It is told before it is exported. A smaller input takes its share of the area at the least.
    It agrees no better than a size in another precision that is no smaller on either side, but
    for what its precision agrees better by at the base.

    Args:
        variant: Of which nothing is known.
        at_base: The variant of its precision at the base size, which is among `known`.
        known: What was measured.
    """
    at_base_size = {
        one.variant.precision: one for one in known if one.variant.size == at_base.size
    }
    own = at_base_size[at_base.precision]
    least_ratio = own.latency_ratio * min(variant.area / at_base.area, 1.0)
    for precision, other in at_base_size.items():
        of_other = [one for one in known if one.variant.precision == precision]
        no_smaller = [one.agreement for one in of_other if one.variant.covers(variant)]
        if precision == variant.precision or not no_smaller or not other.agreement:
            continue
        most = min(no_smaller) * own.agreement / other.agreement
        if any(one.latency_ratio <= least_ratio and one.agreement >= most for one in of_other):
            return True
    return False
