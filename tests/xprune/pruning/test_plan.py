"""Plans by count, fraction and time, and `plan.json`, written or edited by hand."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from runtime_bench.errors import EdgeError
from tests.reference.brute_force_plan import least_cost
from xprune.layers.substitutes import applicable, substitute_macs
from xprune.pruning.knapsack import Option
from xprune.pruning.options import LEAST_SHARE
from xprune.pruning.plan import (
    NextSlower,
    PrunePlan,
    Request,
    plan_by_time,
    read_plan,
    with_measured,
    write_plan,
)
from xprune.pruning.plan_by_count import plan_by_count


def chosen(plan: PrunePlan) -> dict[str, str]:
    """What is replaced by what."""
    return {choice.layer: choice.substitute for choice in plan.choices}


def by_count(scores, asked: Request, *, substitute: str = "linear", criterion: str = "removal"):
    """`plan_by_count` with what most tests want."""
    return plan_by_count(scores, criterion=criterion, substitute=substitute, asked=asked)


def by_time(scores, table, wanted_s: float, *, substitute="linear", criterion="removal"):
    """`plan_by_time` with what most tests want."""
    return plan_by_time(
        scores,
        table,
        criterion=criterion,
        substitute=substitute,
        asked=Request(speedup=1.25),
        wanted_s=wanted_s,
    )


def test_the_lowest_scores_go_in_the_order_in_which_they_run(make_scores):
    """Three of them; a layer inside one that goes does not count."""
    scores = make_scores({"down": 1.0, "down.conv": 2.0, "stage.0.second": 3.0, "stem": 4.0})

    plan = by_count(scores, Request(layers=3))

    assert chosen(plan) == {"stem": "linear", "stage.0.second": "linear", "down": "linear"}
    assert [choice.layer for choice in plan.choices] == ["stem", "stage.0.second", "down"]
    assert [choice.score for choice in plan.choices] == [4.0, 3.0, 1.0]
    assert plan.choices[1].reason == "number 3 from below of 18 by removal"
    assert plan.choices[0].type == "ConvBlock"
    assert all(choice.saved_s is choice.share is None for choice in plan.choices)


def test_a_child_that_scores_lower_keeps_its_block(make_scores):
    """What is chosen first decides, from inside as from outside."""
    scores = make_scores({"stage.0.first": 1.0, "stage.0": 2.0, "stage": 3.0, "tower": 4.0})

    assert chosen(by_count(scores, Request(layers=2))) == {
        "stage.0.first": "linear",
        "tower": "linear",
    }


def test_what_computes_as_much_as_the_layer_is_no_layer_gone(make_scores, candidates):
    """A 1x1 convolution for a block of one would go first, since next to nothing changes."""
    scores = make_scores({"down": 0.1, "stem": 1.0, "tower": 2.0})
    light = tuple(
        replace(c, macs=substitute_macs(c, "linear")) if c.name == "down" else c
        for c in candidates
    )
    scores = replace(scores, candidates=light)

    assert "linear" in applicable(next(c for c in light if c.name == "down"))
    assert set(chosen(by_count(scores, Request(layers=2)))) == {"stem", "tower"}


def test_a_layer_that_leaves_too_little_beside_it_is_passed_over(make_scores, candidates):
    """However low it scores: as many as can go at all are found, and no more are promised."""
    scores = make_scores({"stage": 0.1, "stage.0.first": 1.0, "stage.0.second": 2.0})
    innermost = [c.name for c in candidates if all(o.parent != c.name for o in candidates)]
    most = sum("linear" in applicable(c) for c in candidates if c.name in innermost)

    assert "stage" in chosen(by_count(scores, Request(layers=2)))
    all_of_them = chosen(by_count(scores, Request(layers=most)))
    assert len(all_of_them) == most
    assert "stage" not in all_of_them
    with pytest.raises(EdgeError, match=f"only {most} can go"):
        by_count(scores, Request(layers=most + 1))


def test_auto_takes_the_best_substitute_of_each_layer(make_scores):
    """By the criterion; one that does not look at substitutes takes the cheapest that fits."""
    scores = make_scores({"stage": 1.0, "stem": 2.0})

    best = by_count(scores, Request(layers=2), substitute="auto")
    cheapest = by_count(scores, Request(layers=2), substitute="auto", criterion="grad_act")

    assert chosen(best) == {"stem": "linear", "stage": "linear"}
    assert chosen(cheapest) == {"stem": "linear", "stage": "identity"}


def test_auto_takes_an_affine_where_it_scores_lower(make_scores):
    """The factors say which substitute is best."""
    scores = make_scores({"stage": 1.0}, {"identity": 3.0, "affine": 0.5, "linear": 1.0})

    assert chosen(by_count(scores, Request(layers=1), substitute="auto")) == {"stage": "affine"}


@pytest.mark.parametrize(("fraction", "count"), [(0.05, 1), (0.09, 1), (0.1, 2), (1, 11)])
def test_a_fraction_counts_convolutions_and_rounds_up(make_scores, fraction, count):
    """Of the toy's eleven convolutions; blocks never go, however low they score."""
    scores = make_scores({"stem": 0.1, "out": 1.0, "down.conv": 2.0})
    convolutions = {c.name for c in scores.candidates if c.convolution}

    plan = by_count(scores, Request(fraction=fraction), substitute="zero")

    assert len(convolutions) == 11
    assert len(plan.choices) == count
    assert {choice.layer for choice in plan.choices} <= convolutions
    assert "out" in chosen(plan)


def test_a_fraction_does_not_round_up_for_nothing(make_scores, candidates):
    """7 % of 100 are 7, though 0.07 * 100 is a little more in floating point."""
    hundred = tuple(
        replace(candidates[1], name=f"conv{index}", parent=None) for index in range(100)
    )
    scores = make_scores({})
    layers = {c.name: scores.tables[0].layers["stem"] for c in hundred}
    tables = tuple(replace(table, layers=layers) for table in scores.tables)

    plan = by_count(
        replace(scores, candidates=hundred, tables=tables),
        Request(fraction=0.07),
        substitute="zero",
    )

    assert 0.07 * 100 > 7
    assert len(plan.choices) == 7


def test_more_than_there_is_is_an_error(make_scores):
    """It says how many can go."""
    with pytest.raises(
        EdgeError, match=r"--layers 40 asks for 40 layers, only \d+ can go with"
    ):
        by_count(make_scores({}), Request(layers=40))


def test_a_score_that_is_not_there_is_an_error(make_scores):
    """A criterion that was not computed cannot be planned by."""
    with pytest.raises(EdgeError, match="no 'fisher with linear'"):
        by_count(make_scores({}), Request(layers=1), criterion="fisher")


def brute_force(scores, table, substitute: str, wanted_s: float) -> float | None:
    """The least cost over all choices, from the made-up scores and times."""
    names = [c.name for c in scores.candidates]
    parents = {
        n: next(
            (p for p in sorted(names, key=len, reverse=True) if n.startswith(f"{p}.")), None
        )
        for n in names
    }
    options = [
        Option(c.name, how, scores.table("removal", how).layers[c.name].mean, saved_s)
        for c in scores.candidates
        for how in applicable(c, substitute)
        if (saved_s := table.saved_s(c.name, how)) >= LEAST_SHARE * table.base_s
    ]
    return least_cost(parents, options, wanted_s)


@pytest.mark.parametrize("substitute", ["identity", "affine"])
@pytest.mark.parametrize("wanted_s", [0.5, 1.0, 1.7])
def test_time_is_bought_where_it_costs_least(make_scores, only, table, substitute, wanted_s):
    """As trying everything finds it, also where a block around the layers cannot go."""
    scores = make_scores(
        {"stage": 9.0, "stage.0": 2.0, "stage.1.first": 0.7, "tower.0": 1.1, "tower": 3.0}
    )

    plan = by_time(only(scores, substitute), table, wanted_s, substitute=substitute)

    saved_s = sum(table.saved_s(c.layer, c.substitute) for c in plan.choices)
    assert saved_s >= wanted_s
    assert sum(c.score for c in plan.choices) == pytest.approx(
        brute_force(only(scores, substitute), table, substitute, wanted_s)
    )


def test_layers_count_though_the_block_around_them_does_not(candidates, make_scores, table):
    """A block that no wanted substitute fits is not scored; what is inside it can go."""
    scores = make_scores({})
    inner = tuple(
        replace(c, parent="block") for c in candidates if c.name in ("stage.0", "stage.1")
    )

    plan = by_time(replace(scores, candidates=inner), table, 0.5, substitute="identity")

    assert set(chosen(plan)) <= {"stage.0", "stage.1"}
    assert plan.choices


def test_a_plan_by_time_says_what_it_promises(make_scores, table):
    """Seconds saved, their share, the predicted speed-up, and the reason in words."""
    plan = by_time(make_scores({"down": 1.0}), table, 0.15)

    (choice,) = plan.choices
    saved_s = table.saved_s("down", "linear")
    assert (choice.layer, choice.type, choice.score) == ("down", "ConvBlock", 1.0)
    assert choice.saved_s == pytest.approx(saved_s)
    assert choice.share == pytest.approx(saved_s / 10)
    assert plan.base_latency_s == 10
    assert plan.predicted_speedup == pytest.approx(10 / (10 - saved_s))
    assert choice.reason.startswith(
        f"saves {saved_s / 10:.1%} of the time for removal 1: number 1"
    )


def test_a_saving_within_the_noise_is_none(make_scores, table):
    """Below 0.2 % of the time an option is left out, as is one that would cost time."""
    layers = {**dict.fromkeys(table.layers, 0.0), "down": 0.03, "stem": 0.019, "stage": 1.0}
    slower = {**table.substitutes, "stage": {"linear": 2.0}}
    nearly = replace(table, layers=layers, substitutes={**slower, "down": {"linear": 0.0}})
    nearly = replace(nearly, substitutes={**nearly.substitutes, "stem": {"linear": 0.0}})

    plan = by_time(make_scores({"stem": 0.0, "stage": 0.0}), nearly, 0.02)

    assert list(chosen(plan)) == ["down"]


def test_a_speed_out_of_reach_is_an_error(make_scores, table):
    """It says how far the table goes."""
    with pytest.raises(
        EdgeError, match=r"--speedup 1.25 is not reachable: .* give \d+\.\d\d at"
    ):
        by_time(make_scores({}), table, 9.9)


def test_requests_read_as_typed():
    """And latency is turned into the speed-up that it means."""
    assert str(Request(speedup=1.25)) == "--speedup 1.25"
    assert str(Request(latency_s=0.0125)) == "--latency-ms 12.5"
    assert str(Request(layers=3)) == "--layers 3"
    assert str(Request(fraction=0.05)) == "--fraction 0.05"
    assert Request(latency_s=2.0).wanted_speedup(3.0) == 1.5
    assert Request(speedup=1.3).wanted_speedup(3.0) == 1.3
    assert Request(layers=3).wanted_speedup(3.0) is None


@pytest.fixture
def plan(make_scores, table) -> PrunePlan:
    """A plan of several layers that was timed."""
    made = by_time(make_scores({"down": 1.0, "tower": 2.0, "stage.1": 3.0}), table, 1.2)
    return with_measured(made, 1.21, (1.19, 1.23))


@pytest.fixture
def path(tmp_path: Path, plan: PrunePlan) -> Path:
    """Where that plan is written."""
    written = tmp_path / "plan.json"
    write_plan(written, plan)
    return written


def test_a_plan_survives_its_file(path, plan, candidates):
    """Every value; a plan by count, with its gaps, as well."""
    assert len(plan.choices) > 1
    assert read_plan(path, candidates) == plan


def test_what_surrounds_a_plan_survives_its_file(tmp_path, plan, candidates):
    """The next slower plan, and the machine that it is for."""
    slower = NextSlower((("down", "linear"), ("stem", "affine")), 1.17, "it misses")
    whole = replace(plan, next_slower=slower, machine="Raspberry Pi 5, 4 threads")

    write_plan(tmp_path / "plan.json", whole)

    assert read_plan(tmp_path / "plan.json", candidates) == whole
    assert whole.pairs == tuple(chosen(whole).items())
    assert whole.promised_s == pytest.approx(sum(c.saved_s for c in whole.choices))


def test_a_plan_by_count_survives_its_file(tmp_path, make_scores, candidates):
    """What was not measured stays unknown."""
    plan = by_count(make_scores({}), Request(fraction=0.2), substitute="zero")

    write_plan(tmp_path / "plan.json", plan)

    assert read_plan(tmp_path / "plan.json", candidates) == plan


def test_a_layer_and_a_substitute_are_enough(path, candidates):
    """What a person adds by hand needs no more, and says so."""
    document = json.loads(path.read_text())
    document["choices"] = [{"layer": "stage.0", "substitute": "affine"}]
    path.write_text(json.dumps(document))

    (choice,) = read_plan(path, candidates).choices

    assert (choice.layer, choice.substitute, choice.type) == ("stage.0", "affine", "Residual")
    assert (choice.score, choice.saved_s, choice.share) == (None, None, None)
    assert choice.reason == "named by hand"


def _choices(*entries: object):
    return lambda document: document.update(choices=list(entries))


DOWN = {"layer": "down", "substitute": "linear"}
EDITS = {
    "another file": lambda d: d.update(format="xprune-edge scores"),
    "newer": lambda d: d.update(version=2),
    "no choices": lambda d: d.pop("choices"),
    "choices as text": lambda d: d.update(choices="down"),
    "no asked": lambda d: d.pop("asked"),
    "no criterion": lambda d: d.pop("criterion"),
    "two wishes": lambda d: d.update(asked={"speedup": 1.2, "layers": 3}),
    "no wish": lambda d: d.update(asked={}),
    "wish as text": lambda d: d.update(asked={"speedup": "1.2"}),
    "unknown wish": lambda d: d.update(asked={"speed": 1.2}),
    "next slower as text": lambda d: d.update(next_slower="a plan"),
    "next slower without choices": lambda d: d.update(next_slower={"reason": "none"}),
    "interval": lambda d: d.update(measured_interval=[1.0]),
    "interval as number": lambda d: d.update(measured_interval=1.0),
    "name alone": _choices("down"),
    "no layer": _choices({"substitute": "linear"}),
    "unknown layer": _choices({**DOWN, "layer": "down.2"}),
    "layer as list": _choices({**DOWN, "layer": ["down"]}),
    "no candidate": _choices({**DOWN, "layer": "pool"}),
    "no substitute": _choices({"layer": "down"}),
    "unknown substitute": _choices({**DOWN, "substitute": "cheap"}),
    "auto": _choices({**DOWN, "substitute": "auto"}),
    "substitute as list": _choices({**DOWN, "substitute": ["linear"]}),
    "does not fit": _choices({**DOWN, "substitute": "identity"}),
    "twice": _choices(DOWN, DOWN),
    "nested": _choices(DOWN, {"layer": "down.conv", "substitute": "linear"}),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_bad_edits_are_one_line(path, candidates, edit):
    """The file, what is wrong with it, and no traceback."""
    document = copy.deepcopy(json.loads(path.read_text()))
    edit(document)
    path.write_text(json.dumps(document))

    with pytest.raises(EdgeError, match=r"plan\.json") as caught:
        read_plan(path, candidates)

    assert "\n" not in str(caught.value)
