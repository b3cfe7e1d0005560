"""How good is a model on calibration pictures? By labels, or by a sharper look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime_bench.accuracy.predictions import detect_all, main_figure, score
from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.manifest import OutputSpec
from runtime_bench.data.dataset import Dataset, Picture
from runtime_bench.errors import EdgeError
from runtime_bench.runtime.session import open_session
from xprune.stages.rewrites import shipped_graph
from xprune.stages.workbench import DEFAULT_SIDE_PX, Workbench
from xprune.variants.folder import at_variant
from xprune.variants.variant import Size, Variant

# On how many many variants are ranked, and on how many those that were tried are compared: the
# best of a handful on few pictures is often only a lucky one.
FEW, MANY = 256, 1024


class Agreement:
    """Scores graphs on calibration pictures, never on test pictures.

    Where these have no labels, the truth is what the unpruned model finds when it sees the
    pictures larger than any variant does: of two sizes neither is its own judge. Of that the
    surer half counts. The rest has mistakes that a smaller input repeats and that other layers
    do not, so it would speak for the smaller input. A classifier was trained for things of one
    size, so it is judged by what it says at its own.

    Attributes:
        reference: At which size it looked; None where the pictures have labels.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        pictures = _pictures(bench)
        self.reference: Size | None = None
        if not bench.sets.calibration.labelled:
            self.reference = bench.base_size
            if self._finds_boxes:
                self.reference = reference_size(bench.base_size, bench.detector.stride)
            pictures = self._with_own_answers(pictures, self.reference)
        self._pictures = pictures

    def of(self, graph: bytes, size: Size) -> float:
        """Return the AP of a graph that ends with NMS, for inputs of `size`; or its top-1."""
        return self._figure(graph, size, self._pictures)

    def roughly(self, graph: bytes, size: Size) -> float:
        """Return the same on fewer pictures."""
        return self._figure(graph, size, self._pictures[-FEW:])

    def _figure(self, graph: bytes, size: Size, pictures: Sequence[Picture]) -> float:
        found = self._detect(graph, size, pictures)
        card = self._bench.card
        dataset = Dataset("", card.names, tuple(pictures), True, task=card.task)
        return main_figure(score(dataset, found))

    @property
    def _finds_boxes(self) -> bool:
        return self._bench.card.task == "detect"

    def _with_own_answers(self, pictures: Sequence[Picture], size: Size) -> list[Picture]:
        looking = at_variant(self._bench, Variant(size, "float32"))
        graph = shipped_graph(looking, looking.unpruned_graph, raw=False)
        min_score = self._bench.run.config.conf
        answers = self._detect(graph, size, pictures)
        least = surer_half(np.concatenate([found.scores for found in answers]), min_score)
        labelled = []
        for picture, found in zip(pictures, answers, strict=True):
            kept = found.scores >= least if self._finds_boxes else slice(1)
            labelled.append(
                replace(
                    picture,
                    boxes=found.boxes[kept],
                    labels=found.labels[kept],
                    crowd=np.zeros(len(found.labels[kept]), dtype=bool),
                )
            )
        if not any(len(picture.boxes) for picture in labelled):
            raise EdgeError(
                f"the unpruned model finds nothing on {len(labelled)} calibration pictures "
                f"with a score of {min_score}, so sizes and precisions cannot be compared; "
                "give pictures with objects, or a lower --conf"
            )
        return labelled

    def _detect(
        self, graph: bytes, size: Size, pictures: Sequence[Picture]
    ) -> list[Detections]:
        card = self._bench.card
        ended = OutputSpec() if self._finds_boxes else card.raw_output(OutputSpec())
        manifest = card.manifest(size, ended)
        session = open_session(graph, self._bench.session)
        return detect_all(session.run, manifest, pictures)


def _pictures(bench: Workbench) -> Sequence[Picture]:
    """Return pictures that layers were not scored on, where there are enough of them."""
    scored_on, others = bench.sets.calibration.pictures, bench.others.pictures
    # A recovery holds the last ones out.
    return others[-MANY:] if len(others) >= len(scored_on) else scored_on


def surer_half(scores: NDArray[np.floating[Any]], least: float) -> float:
    """Return the score that half of those which are `least` or more reach; `least` if none."""
    enough = scores[scores >= least]
    return float(np.median(enough)) if len(enough) else least


def reference_size(base: Size, stride: int) -> Size:
    """Return the size at which the unpruned model shows what is there: twice, or 640 px."""
    scale = max(1.0, min(2.0, DEFAULT_SIDE_PX / max(base)))
    height, width = (max(stride, int(side * scale) // stride * stride) for side in base)
    return height, width
