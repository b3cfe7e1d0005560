"""The toy's candidates, with scores and times made up so that answers are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.reference.toy_networks import noise, toy
from xprune.attribution.scores import LayerScore, Scores, ScoreTable
from xprune.layers.candidates import Candidate, find_candidates
from xprune.layers.substitutes import applicable
from xprune.pruning.latency_table import LatencyTable


@pytest.fixture(scope="session")
def candidates() -> tuple[Candidate, ...]:
    """All 21 of the toy, in the order in which they run."""
    network = toy()
    return find_candidates(network, lambda: network(noise(1)))


def made_up_scores(
    candidates: tuple[Candidate, ...],
    by_layer: Mapping[str, float],
    factors: Mapping[str, float] | None = None,
) -> Scores:
    """Scores of 50 unless `by_layer` says otherwise; `removal` times a substitute's factor."""

    def table(criterion: str, substitute: str | None, factor: float) -> ScoreTable:
        return ScoreTable(
            criterion,
            substitute,
            {c.name: LayerScore(factor * by_layer.get(c.name, 50.0), 0.5) for c in candidates},
        )

    factors = factors or {"zero": 8.0, "identity": 4.0, "affine": 2.0, "linear": 1.0}
    return Scores(
        model_name="toy",
        weights_sha256=None,
        size=(32, 40),
        seed=0,
        targets="labels",
        pictures=("a.jpg",),
        loss=LayerScore(1.0, 0.0),
        candidates=candidates,
        tables=(
            table("grad_act", None, 1.0),
            *(table("removal", name, factor) for name, factor in factors.items()),
        ),
        fit_errors={},
    )


@pytest.fixture
def make_scores(candidates):
    """Scores from layer to score, and optionally substitute to factor; see `made_up_scores`."""
    return lambda by_layer, factors=None: made_up_scores(candidates, by_layer, factors)


@pytest.fixture
def only(candidates):
    """Scores that hold those candidates alone that a substitute can replace."""

    def keep(scores: Scores, substitute: str) -> Scores:
        kept = tuple(c for c in scores.candidates if applicable(c, substitute))
        return replace(scores, candidates=kept)

    return keep


@pytest.fixture
def table(candidates) -> LatencyTable:
    """Ten seconds for all; each layer a second per 100,000 MACs, a linear one half of that.

    A richer one takes 0.8 of it.
    """
    layers = {c.name: c.macs / 100_000 for c in candidates}
    share = {"zero": 0.0, "identity": 0.0, "affine": 0.1, "linear": 0.5}
    return LatencyTable(
        base_s=10.0,
        layers=layers,
        substitutes={
            c.name: {n: share.get(n, 0.8) * layers[c.name] for n in ("zero", *applicable(c))}
            for c in candidates
        },
        settings={"threads": 1, "imgsz": [32, 40]},
    )
