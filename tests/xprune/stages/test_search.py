"""Plans by search and in rounds, on a tiny network: enough saved, kept in the run's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime_bench.errors import EdgeError
from tests.reference.brute_force_plan import possible
from xprune.attribution.scores import Scores, write_scores
from xprune.layers.candidates import nested
from xprune.layers.substitutes import applicable
from xprune.pruning.latency_table import LatencyTable
from xprune.pruning.options import parents_of
from xprune.pruning.plan import PrunePlan, plan_by_time, read_plan, write_plan
from xprune.search.fitness import PlanFitness
from xprune.stages import rounds as rounds_module
from xprune.stages.attribute import SCORES_FILE, compute_scores
from xprune.stages.frontier import find_neighbours
from xprune.stages.plan import request
from xprune.stages.search import SEARCH_FILE, proposer
from xprune.stages.workbench import Workbench

WANTED_S = 2.0


def made_up_table(bench: Workbench) -> LatencyTable:
    """10 s for all, shared out by multiply-adds; a substitute takes a tenth of its layer."""
    candidates = bench.candidates
    all_macs = sum(c.macs for c in candidates if c.parent is None)
    layers = {c.name: 10.0 * c.macs / all_macs for c in candidates}
    return LatencyTable(
        base_s=10.0,
        layers=layers,
        substitutes={
            c.name: dict.fromkeys(("zero", *applicable(c)), 0.1 * layers[c.name])
            for c in candidates
        },
        settings={},
    )


def scored(bench: Workbench) -> Scores:
    """The scores, in the run's folder as well."""
    scores = compute_scores(bench)
    write_scores(bench.run.file(SCORES_FILE), scores)
    return scores


def saved_s(plan: PrunePlan) -> float:
    """What the table says that it saves."""
    return sum(choice.saved_s or 0 for choice in plan.choices)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The plans that are really tried."""
    plans: list[object] = []
    plainly = PlanFitness.__call__

    def count(self: PlanFitness, plan):
        plans.append(plan)
        return plainly(self, plan)

    monkeypatch.setattr(PlanFitness, "__call__", count)
    return plans


def test_without_a_search_it_is_the_plan_of_the_scores(make_bench):
    """And no file is left."""
    bench = make_bench(layers=None, speedup=1.25)
    scores, table = compute_scores(bench), made_up_table(bench)
    asked = request(bench.run.config)

    made = proposer(bench, scores, table, asked)(WANTED_S)

    assert made == plan_by_time(
        scores, table, criterion="divergence", substitute="auto", asked=asked, wanted_s=WANTED_S
    )
    assert (made.search, made.rounds, made.evaluations) == ("none", 1, None)
    assert not bench.run.file(SEARCH_FILE).exists()


@pytest.mark.parametrize("method", ["evolution", "beam", "dp"])
def test_a_search_saves_enough_and_is_gone_on_with(make_bench, counted, method: str):
    """A second command tries nothing again and returns the same plan; a plan says how."""
    bench = make_bench(layers=None, speedup=1.25, search=method, search_seconds=1)
    scores, table = compute_scores(bench), made_up_table(bench)
    asked = request(bench.run.config)

    made = proposer(bench, scores, table, asked)(WANTED_S)
    tried = len(counted)
    again = proposer(bench, scores, table, asked)(WANTED_S)

    assert saved_s(made) >= WANTED_S * (1 - 1e-9)
    layers = list(made.choices)
    assert possible(parents_of(scores), layers)
    assert made.search == method
    assert made.evaluations is not None
    assert made.fitness is not None
    assert made.fitness_of_scores is not None
    assert made.fitness <= made.fitness_of_scores
    assert all(f"plans that were tried ({method}); saves" in c.reason for c in made.choices)
    assert len(bench.run.file(SEARCH_FILE).read_text().splitlines()) == len(counted)
    assert again.fitness is not None
    assert again.fitness <= made.fitness
    assert len(counted) - tried <= 1 + tried  # the clock is real: a plan more may fit in


def test_what_is_asked_again_for_another_saving_is_known(make_bench, counted):
    """With no time left its plan of the scores is tried, and that is all."""
    bench = make_bench(layers=None, speedup=1.25, search="evolution", search_seconds=1)
    scores, table = compute_scores(bench), made_up_table(bench)
    propose = proposer(bench, scores, table, request(bench.run.config))
    propose.evaluations.spent_s = 1e9  # type: ignore[attr-defined]

    first, same, more = propose(WANTED_S), propose(WANTED_S), propose(1.2 * WANTED_S)

    assert first.choices == same.choices
    assert saved_s(more) >= 1.2 * WANTED_S * (1 - 1e-9)
    assert len(counted) <= 2


def test_timing_and_correcting_share_the_seconds(make_bench, counted):
    """However often a plan is asked for, what delivers is found, and little more time spent."""
    bench = make_bench(layers=None, speedup=1.25, search="evolution", search_seconds=2)
    scores, table = compute_scores(bench), made_up_table(bench)
    propose = proposer(bench, scores, table, request(bench.run.config))

    found = find_neighbours(
        propose,
        lambda made: 0.8 * made.promised_s,  # the table promises too much
        goal_s=WANTED_S,
        free_s=0.0,
        base_s=10.0,
    )

    assert found.best is not None
    assert 0.8 * found.best.promised_s >= WANTED_S
    assert found.best.search == "evolution"
    slowest_s = max(one.seconds for one in propose.evaluations.tried.values())
    spent_s = propose.evaluations.spent_s + propose.finals.spent_s
    assert spent_s < 2 + 3 * found.timed * max(slowest_s, 1.0)


def test_a_plan_that_was_searched_for_is_read_as_it_was_written(make_bench, tmp_path: Path):
    """All that it says of the search included."""
    bench = make_bench(layers=None, speedup=1.25, search="beam", search_seconds=1)
    scores, table = compute_scores(bench), made_up_table(bench)
    made = proposer(bench, scores, table, request(bench.run.config))(WANTED_S)

    write_plan(tmp_path / "plan.json", made)

    assert read_plan(tmp_path / "plan.json", scores.candidates) == made


def test_one_picture_is_too_few(make_bench):
    """None would be left to look at."""
    bench = make_bench(
        layers=None, speedup=1.25, search="dp", search_seconds=1, calibration_images=1
    )

    with pytest.raises(
        EdgeError, match="--search dp needs 2 calibration pictures at least, and"
    ):
        proposer(bench, compute_scores(bench), made_up_table(bench), request(bench.run.config))


def test_what_cannot_be_saved_is_said(make_bench):
    """As without a search."""
    bench = make_bench(layers=None, speedup=1.25, search="dp", search_seconds=1)
    scores, table = compute_scores(bench), made_up_table(bench)

    with pytest.raises(EdgeError, match="is not reachable: with the substitute 'auto'"):
        proposer(bench, scores, table, request(bench.run.config))(9.9)


def test_rounds_keep_what_they_chose_and_score_the_rest_anew(make_bench, monkeypatch):
    """Each round's scores are of the cut network and are kept in the run's folder."""
    bench = make_bench(layers=None, speedup=1.25, rounds=3)
    scores, table = scored(bench), made_up_table(bench)
    asked = request(bench.run.config)
    scored_layers = []

    def noted(arm: Workbench) -> Scores:
        scored_layers.append([candidate.name for candidate in arm.candidates])
        return compute_scores(arm)

    monkeypatch.setattr(rounds_module, "compute_scores", noted)
    made = proposer(bench, scores, table, asked)(WANTED_S)
    corrected = proposer(bench, scores, table, asked)(WANTED_S)

    assert saved_s(made) >= WANTED_S * (1 - 1e-9)
    assert made.rounds == 3
    assert corrected == made
    assert len(scored_layers) == 2  # the first round has the run's own scores
    assert len(list(bench.run.path.glob("scores-?-*.json"))) == 2
    chosen = [choice.layer for choice in made.choices]
    for left in scored_layers:
        gone = [name for name in chosen if name not in left]
        assert gone
        assert not any(nested(name, layer) for name in gone for layer in left)


def test_a_correction_changes_the_last_round_alone(make_bench, monkeypatch):
    """A little more or less is wanted: nothing is scored again."""
    bench = make_bench(layers=None, speedup=1.25, rounds=2)
    scores, table = scored(bench), made_up_table(bench)
    propose = proposer(bench, scores, table, request(bench.run.config))
    propose(WANTED_S)
    monkeypatch.setattr(rounds_module, "compute_scores", None)

    for factor in (1.1, 0.95):
        assert saved_s(propose(factor * WANTED_S)) >= factor * WANTED_S * (1 - 1e-9)
