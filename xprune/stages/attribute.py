"""Stage 1: what is each layer worth? Leaves `scores.json` and `data.json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from runtime_bench.files import write_json
from runtime_bench.progress import track
from xprune.attribution.attribute import (
    ScoringTask,
    ablation_tables,
    data_free_tables,
    fitted_substitutes,
    gradient_moments,
    gradient_tables,
    spread_candidates,
)
from xprune.attribution.criteria import ABLATION, DIVERGENCE
from xprune.attribution.divergence import LookingTask, divergence_tables
from xprune.attribution.scores import LayerScore, Scores, write_scores
from xprune.layers.candidates import Candidate
from xprune.layers.substitutes import applicable
from xprune.stages.workbench import BATCH, Workbench

STAGE = "attribute"
SCORES_FILE = "scores.json"
DATA_FILE = "data.json"
# Single layers are looked at on so many pictures: layers differ a thousandfold, means over
# pictures by far less.
LOOKED_AT = 16
OWN = {"detect": "own detections", "classify": "own classes"}


def attribute(bench: Workbench) -> None:
    """Score the layers, unless they are scored already."""
    run = bench.run
    if run.is_done(STAGE, inputs=(), outputs=(SCORES_FILE, DATA_FILE)):
        bench.say("Layers are scored already")
        return
    write_json(run.file(DATA_FILE), _data(bench))
    write_scores(run.file(SCORES_FILE), compute_scores(bench))
    run.mark_done(STAGE, inputs=())


def compute_scores(bench: Workbench) -> Scores:
    """Score the run's detector on its calibration pictures.

    All candidates are listed, also those that the run's substitute does not fit and that
    therefore have no score: shares are of all of them.
    """
    config = bench.run.config
    candidates = spread_candidates(scoring_task(bench, bench.candidates), _progress)
    scored = tuple(c for c in candidates if applicable(c, config.substitute))
    task = scoring_task(bench, scored)
    substitutes, fit_errors = fitted_substitutes(task, config.substitute, _progress)
    moments, losses = gradient_moments(task, substitutes, _progress)
    # Nothing but a look at its substitute says what an activation is worth: it has no weights.
    names = [candidate.name for candidate in scored if not candidate.activation]
    tables = [
        *gradient_tables(moments),
        *data_free_tables(bench.detector.network, names, config.seed),
    ]
    if config.criterion == ABLATION:
        tables += ablation_tables(task, substitutes, _progress)
    if config.criterion == DIVERGENCE:
        tables += divergence_tables(
            looking_task(bench, candidates), substitutes, tables, _progress
        )
    labelled = bench.sets.calibration.labelled
    return Scores(
        model_name=bench.detector.name,
        weights_sha256=bench.detector.weights_sha256,
        size=bench.size,
        seed=config.seed,
        targets="labels" if labelled else OWN[bench.detector.task],
        pictures=tuple(picture.name for picture in bench.sets.calibration.pictures),
        loss=LayerScore(float(losses.mean()), float(losses.std()) if len(losses) > 1 else 0.0),
        candidates=candidates,
        tables=tuple(tables),
        fit_errors=fit_errors,
    )


def scoring_task(
    bench: Workbench, candidates: tuple[Candidate, ...], batch: int = BATCH
) -> ScoringTask:
    """Return what attribution needs of the run's detector and calibration pictures."""
    network, pictures, targets = bench.detector.network, bench.calibration, bench.targets

    def losses(index: int, outputs: Any) -> torch.Tensor:
        wanted = targets[index * batch : (index + 1) * batch]
        return bench.family.picture_losses(network, outputs, wanted)

    return ScoringTask(
        network=network,
        candidates=candidates,
        batches=-(-len(targets) // batch),
        forward=lambda index: bench.forward(
            network, pictures.images(index * batch, (index + 1) * batch)
        ),
        losses=losses,
    )


def looking_task(bench: Workbench, candidates: tuple[Candidate, ...]) -> LookingTask:
    """Return what looking at single layers needs of the run's detector and pictures."""
    return LookingTask(
        network=bench.detector.network,
        candidates=candidates,
        images=bench.calibration.images(0, LOOKED_AT),
        run=bench.forward,
        distances=bench.family.output_divergences,
    )


def _progress(batches: Iterable[int], label: str, total: int) -> Iterator[int]:
    return track(batches, label=label, total=total)


def _data(bench: Workbench) -> dict[str, object]:
    """Return which pictures serve for what."""
    test, calibration = bench.sets.test, bench.sets.calibration
    return {
        "format": "xprune-edge data",
        "version": 1,
        "test": {"source": test.source, "pictures": [p.name for p in test.pictures]},
        "calibration": {
            "source": calibration.source,
            "labelled": calibration.labelled,
            "pictures": [p.name for p in calibration.pictures],
        },
        "skipped": list(bench.sets.skipped),
    }
