"""The JSON of one architecture: the unpruned network, an entry for each arm, how they agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from runtime_bench.artifact.manifest import MODEL_FILE
from runtime_bench.files import sha256_of
from xprune.contest.timing import Timed
from xprune.pruning.plan_by_count import cheapest, counted
from xprune.study.agreement import jaccard, jaccard_by_chance, kendall, spearman
from xprune.study.arms import Arm, Made, size_of
from xprune.study.config import DEFAULT, REMOVED, ZEROED
from xprune.study.ground import PLAIN_SUBSTITUTE, Ground
from xprune.study.measure import Figures, time_arms


def measured(ground: Ground, made: Sequence[Made]) -> dict[str, Any]:
    """Time and score the arms of an architecture, and return all that is known of it."""
    timed = time_arms(ground, made)
    figures = Figures(ground)
    bench, entry = ground.bench, ground.entry
    parameters, macs = size_of(bench, bench.detector.network)
    sha256 = sha256_of(ground.base / MODEL_FILE)
    candidates = bench.candidates
    convolutions = [candidate for candidate in candidates if candidate.convolution]
    return {
        "name": entry.name,
        "model": entry.model,
        "trained": entry.trained,
        "weights_sha256": bench.detector.weights_sha256,
        "licence": bench.detector.licence,
        "task": bench.detector.task,
        "imgsz": list(bench.size),
        "figure": figures.key,
        "convolutions": len(convolutions),
        "bypassable": sum(candidate.keeps_shape for candidate in convolutions),
        "candidates": sum(not candidate.activation for candidate in candidates),
        "base": {
            **figures.of_base(),
            "latency_s": timed.base_s,
            "again_ratio": timed.ratios[sha256],
            "again_interval": list(timed.intervals[sha256]),
            "parameters": parameters,
            "macs": macs,
            "sha256": sha256,
        },
        "arms": [_arm(ground, one, timed, figures) for one in made],
        "ranks": list(_ranks(ground)),
        "choices": list(_choices(made, len(convolutions), _bypassable(ground))),
        "repeats": list(_repeats(made)),
        "timed": {"rounds": timed.rounds, "without_nms": ground.leaves_nms_out},
        "data": _data(ground),
    }


def _arm(ground: Ground, made: Made, timed: Timed, figures: Figures) -> dict[str, Any]:
    arm = made.arm
    head = {
        "criterion": arm.criterion,
        "mode": arm.mode,
        "ratio": arm.ratio,
        "seed": arm.seed,
        "seconds": made.seconds,
    }
    if made.artifact is None:
        return {**head, "error": made.error}
    return {
        **head,
        "layers": [list(pair) for pair in made.layers],
        "convolutions": list(made.convolutions),
        "latency_ratio": timed.ratios[made.sha256],
        "latency_interval": list(timed.intervals[made.sha256]),
        **figures.of(made.artifact),
        "parameters": made.parameters,
        "macs": made.macs,
        "artifact": made.artifact.relative_to(ground.folder).as_posix(),
        "sha256": made.sha256,
    }


def _ranks(ground: Ground) -> Iterator[dict[str, Any]]:
    """Yield for each seed and two criteria how alike they rank the convolutions."""
    study = ground.study
    own = (study.own_criterion, True)
    criteria = [(name, False) for name in study.criteria]
    if DEFAULT in study.modes:
        criteria.append(own)
    for seed in study.seeds:
        for first, second in combinations(criteria, 2):
            one, other = (
                _values(ground, name, seed, own=is_own) for name, is_own in (first, second)
            )
            both = [name for name in one if name in other]
            pair = [one[name] for name in both], [other[name] for name in both]
            yield {
                "seed": seed,
                "first": first[0],
                "second": second[0],
                "convolutions": len(both),
                "spearman": spearman(*pair),
                "kendall": kendall(*pair),
            }


def _values(ground: Ground, criterion: str, seed: int, *, own: bool) -> dict[str, float]:
    """Return a criterion's score of every convolution that it scores."""
    substitute = ground.study.own_substitute if own else PLAIN_SUBSTITUTE
    scores = ground.scores(seed, own=own)
    return {
        candidate.name: cheapest(scores, candidate, criterion, substitute).cost
        for candidate in scores.candidates
        if candidate.convolution and counted(candidate, substitute)
    }


def _choices(
    made: Sequence[Made], convolutions: int, bypassable: int
) -> Iterator[dict[str, Any]]:
    """Yield how alike two arms chose by different criteria; ours is held to bypassing."""
    pools = {ZEROED: convolutions, REMOVED: bypassable}
    for first, second in combinations([one for one in made if one.error is None], 2):
        a, b = first.arm, second.arm
        alike = (a.ratio, a.seed) == (b.ratio, b.seed) and a.criterion != b.criterion
        with_ours = {a.mode, b.mode} == {REMOVED, DEFAULT}
        if not alike or not (a.mode == b.mode or with_ours):
            continue
        chance = None
        if not with_ours and len(first.convolutions) == len(second.convolutions):
            chance = jaccard_by_chance(len(first.convolutions), pools[a.mode])
        yield {
            "ratio": a.ratio,
            "seed": a.seed,
            "first": [a.criterion, a.mode],
            "second": [b.criterion, b.mode],
            "jaccard": jaccard(first.convolutions, second.convolutions),
            "by_chance": chance,
        }


def _repeats(made: Sequence[Made]) -> Iterator[dict[str, Any]]:
    """Yield how alike an arm chose with the pictures of two seeds."""
    for first, second in combinations([one for one in made if one.error is None], 2):
        a, b = first.arm, second.arm
        if _but_seed(a) == _but_seed(b):
            yield {
                "criterion": a.criterion,
                "mode": a.mode,
                "ratio": a.ratio,
                "seeds": [a.seed, b.seed],
                "jaccard": jaccard(first.convolutions, second.convolutions),
            }


def _but_seed(arm: Arm) -> tuple[str, str, float]:
    return arm.criterion, arm.mode, arm.ratio


def _bypassable(ground: Ground) -> int:
    return sum(one.convolution and one.keeps_shape for one in ground.bench.candidates)


def _data(ground: Ground) -> Mapping[str, Any]:
    """Return which pictures served for what."""
    pictures = ground.pictures
    return {
        "test": [picture.name for picture in pictures.test.pictures],
        "labelled": pictures.test.labelled,
        "pool": len(pictures.pool.pictures),
        "targets": ground.scores(ground.study.seeds[0]).targets,
        "calibration": {
            str(seed): list(ground.scores(seed).pictures) for seed in ground.study.seeds
        },
    }
