"""The file of evaluations: whole lines, just these settings, nothing hostile."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from runtime_bench.errors import EdgeError
from tests.reference.toy_plans import FakeClock, ToyFitness
from xprune.pruning.knapsack import Option
from xprune.search.evaluations import Evaluation, Evaluations, Journal, OutOfTime
from xprune.search.problem import key_of

PLANS = tuple((Option(f"l{index}", "linear", 1.0, 1.0),) for index in range(4))


def keep(path: Path, *fitnesses: float, settings: object = 1) -> None:
    """Write one plan after the other."""
    journal = Journal(path, {"settings": settings})
    for plan, fitness in zip(PLANS, fitnesses, strict=False):
        journal.append(key_of(plan), Evaluation(plan, fitness, 2.0))


def test_what_was_kept_is_found_again(tmp_path: Path):
    """To the last digit, infinity included."""
    path = tmp_path / "search.jsonl"
    keep(path, 0.1 + 0.2, math.inf)

    journal = Journal(path, {"settings": 1})

    assert journal.find(key_of(PLANS[0])) == (0.1 + 0.2, 2.0)
    assert journal.find(key_of(PLANS[1])) == (math.inf, 2.0)
    assert journal.find(key_of(PLANS[2])) is None


def test_other_settings_do_not_count(tmp_path: Path):
    """Both stay in the file."""
    path = tmp_path / "search.jsonl"
    keep(path, 1.0, settings="a")
    keep(path, 2.0, settings="b")

    assert Journal(path, {"settings": "a"}).find(key_of(PLANS[0])) == (1.0, 2.0)
    assert Journal(path, {"settings": "b"}).find(key_of(PLANS[0])) == (2.0, 2.0)
    assert Journal(path, {"settings": "c"}).find(key_of(PLANS[0])) is None


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_last_line_is_made_again(tmp_path: Path, cut: int):
    """Wherever the kill came; what is appended later is a line of its own."""
    path = tmp_path / "search.jsonl"
    keep(path, 1.0, 2.0)
    path.write_bytes(path.read_bytes()[:-cut])

    journal = Journal(path, {"settings": 1})
    assert journal.find(key_of(PLANS[0])) == (1.0, 2.0)
    assert journal.find(key_of(PLANS[1])) is None
    journal.append(key_of(PLANS[2]), Evaluation(PLANS[2], 3.0, 2.0))

    again = Journal(path, {"settings": 1})
    assert again.find(key_of(PLANS[2])) == (3.0, 2.0)
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "{}",
        '{"plan": 5, "fitness": 1, "seconds": 1, "settings": ""}',
        '{"plan": [["a"]], "fitness": 1, "seconds": 1, "settings": ""}',
        '{"plan": [], "fitness": "x", "seconds": 1, "settings": ""}',
        '{"plan": [], "fitness": NaN, "seconds": 1, "settings": ""}',
        '{"plan": [], "fitness": 1, "seconds": -1, "settings": ""}',
        "[" * 100_000,
        "\x00\xff",
    ],
)
def test_a_hostile_line_is_refused(tmp_path: Path, line: str):
    """With the file and the number of the line."""
    path = tmp_path / "search.jsonl"
    keep(path, 1.0)
    with path.open("a", encoding="latin-1") as file:
        file.write(line + "\n")

    with pytest.raises(EdgeError, match=r"^line 2 of '.*search\.jsonl' is no evaluation of a"):
        Journal(path, {"settings": 1})


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path):
    """As one line."""
    journal = Journal(tmp_path / "none" / "search.jsonl", {})
    (tmp_path / "none").touch()

    with pytest.raises(EdgeError, match=r"cannot write '.*search.jsonl': file exists"):
        journal.append(key_of(PLANS[0]), Evaluation(PLANS[0], 1.0, 1.0))


def test_each_line_holds_a_plan_in_words(tmp_path: Path):
    """For a person to read."""
    path = tmp_path / "search.jsonl"
    keep(path, 1.5)

    entry = json.loads(path.read_text())

    assert entry["plan"] == [["l0", "linear"]]
    assert (entry["fitness"], entry["seconds"]) == (1.5, 2.0)


def test_time_is_shared_by_several_searches():
    """Each `begin` gives seconds from then on; what is known costs none, a pause neither."""
    clock = FakeClock()
    fitness = ToyFitness(dict.fromkeys((key_of(plan)[0] for plan in PLANS), 1.0), clock=clock)
    evaluations = Evaluations(fitness, clock=clock)

    evaluations.begin(1.0)
    evaluations.evaluate(PLANS[0])
    with pytest.raises(OutOfTime):
        evaluations.evaluate(PLANS[1])
    evaluations.evaluate(PLANS[0])
    clock.now_s += 100  # a plan is exported and timed
    evaluations.begin(1.0)
    evaluations.evaluate(PLANS[1])

    assert evaluations.spent_s == 2.0
    assert [key_of(one.plan) for one in evaluations.tried.values()] == [
        key_of(PLANS[0]),
        key_of(PLANS[1]),
    ]
