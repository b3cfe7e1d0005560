"""`scores.json` survives its round trip, and anything else is refused in one line."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from runtime_bench.errors import EdgeError
from xprune.attribution.attribute import fitted_substitutes, gradient_moments, gradient_tables
from xprune.attribution.scores import LayerScore, Scores, ScoreTable, read_scores, write_scores
from xprune.layers.substitutes import applicable


@pytest.fixture
def scores(task, progress) -> Scores:
    """Real scores of the toy."""
    substitutes, errors = fitted_substitutes(task, "auto", progress)
    moments, losses = gradient_moments(task, substitutes, progress)
    return Scores(
        model_name="toy",
        weights_sha256=None,
        size=(32, 40),
        seed=3,
        targets="labels",
        pictures=("a.jpg", "ü.jpg"),
        loss=LayerScore(float(losses.mean()), float(losses.std())),
        candidates=task.candidates,
        tables=tuple(gradient_tables(moments)),
        fit_errors=errors,
    )


@pytest.fixture
def path(tmp_path: Path, scores: Scores) -> Path:
    """Where those scores are written."""
    written = tmp_path / "scores.json"
    write_scores(written, scores)
    return written


def test_scores_survive_their_file(path, scores):
    """Every value, shapes and substitutes included; numbers to the last bit."""
    assert read_scores(path) == scores


def test_the_file_says_what_people_ask(path, scores):
    """Its form, how many pictures, and for each candidate what could replace it."""
    document = json.loads(path.read_text())

    assert (document["format"], document["version"]) == ("xprune-edge scores", 1)
    assert document["count"] == 2
    assert document["imgsz"] == [32, 40]
    named = {entry["name"]: entry["substitutes"] for entry in document["candidates"]}
    assert named == {c.name: list(applicable(c)) for c in scores.candidates}


def test_a_table_is_found_by_criterion_and_substitute(scores):
    """A criterion that looks at no substitute has one table for all of them."""
    assert scores.table("removal", "linear").substitute == "linear"
    assert scores.table("grad_act", None) == scores.table("grad_act", "linear")
    with pytest.raises(EdgeError, match="no 'removal with zero'; run `xprune-edge attribute`"):
        scores.table("removal", "zero")
    with pytest.raises(EdgeError, match="no 'ablation'"):
        scores.table("ablation", None)
    assert isinstance(scores.tables[0], ScoreTable)


def _without(key: str):
    return lambda document: document.pop(key)


DAMAGE = {
    "another file": lambda d: d.update(format="xprune-edge plan"),
    "newer": lambda d: d.update(version=2),
    "no scores": _without("scores"),
    "no candidates": _without("candidates"),
    "no loss": _without("loss"),
    "size": lambda d: d.update(imgsz=[32]),
    "candidate": lambda d: d["candidates"].insert(0, "stem"),
    "shape": lambda d: d["candidates"][0].update(input_shapes=[[3, 0, 40]]),
    "no shapes": lambda d: d["candidates"][0].update(output_shapes=[]),
    "text score": lambda d: d["scores"][0]["layers"]["stem"].update(mean="high"),
    "no spread": lambda d: d["scores"][0]["layers"]["stem"].pop("std"),
    "list of layers": lambda d: d["scores"][0].update(layers=[1]),
    "substitutes": lambda d: d["candidates"][0].pop("substitutes"),
    "fewer substitutes": lambda d: d["candidates"][0]["substitutes"].pop(),
    "errors": lambda d: d.update(fit_errors={"stem": {"linear": None}}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_one_line(path, damage):
    """Missing, misspelled, of another kind or version: the file's name and what to do."""
    document = copy.deepcopy(json.loads(path.read_text()))
    damage(document)
    path.write_text(json.dumps(document))

    with pytest.raises(EdgeError, match=r"scores\.json .*`?xprune-edge") as caught:
        read_scores(path)

    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    """As any JSON of ours."""
    with pytest.raises(EdgeError, match="none"):
        read_scores(tmp_path / "none.json")
