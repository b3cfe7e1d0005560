"""Errors that only work can show: files edited by hand, and requests that cannot be met."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import TINY_YAML, contents, error_line, half_written, run

pytestmark = pytest.mark.needs_torch

OPTIONS = (
    *("--model", "tiny.yaml", "--weights", "none", "--data", "builtin", "--imgsz", "64"),
    *("--threads", "1", "--images", "4", "--calibration-images", "4"),
)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny.yaml and a run, `out`, whose layers are scored and planned."""
    folder = tmp_path_factory.mktemp("scored")
    (folder / "tiny.yaml").write_text(TINY_YAML)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("attribute", *OPTIONS, "--out", "out").exit_code == 0
        assert run("plan", "--layers", "2", "--out", "planned").exit_code == 1  # no run there
        shutil.copytree("out", "planned")
        assert run("plan", "--layers", "2", "--out", "planned").exit_code == 0
    return folder


@pytest.fixture
def place(scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working folder."""
    shutil.copytree(scored, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def _choice(**changes: object) -> Callable[[Any], object]:
    return lambda plan: plan["choices"][0].update(changes)


EDITED_PLANS: dict[str, tuple[Callable[[Any], object], tuple[str, ...]]] = {
    "unknown layer": (_choice(layer="model.99"), ("'model.99'", "see `layers`")),
    "unknown substitute": (_choice(substitute="glue"), ("'glue'", "see `layers`")),
    "substitute that does not fit": (
        lambda plan: plan["choices"].append({"layer": "model.3", "substitute": "identity"}),
        ("'model.3' cannot be replaced by 'identity'",),
    ),
    "layer twice": (
        lambda plan: plan["choices"].append(plan["choices"][0]),
        ("twice", "keep one"),
    ),
    "choices of another kind": (lambda plan: plan.update(choices="all"), ("'choices'",)),
    "other file": (lambda plan: plan.clear(), ("plan.json is not a plan",)),
}


@pytest.mark.parametrize("name", EDITED_PLANS)
def test_an_edit_of_the_plan_that_cannot_be_is_said(name: str, place: Path) -> None:
    """`prune` names the file and the mistake, and leaves no pruned model."""
    change, says = EDITED_PLANS[name]
    path = place / "planned" / "plan.json"
    plan = json.loads(path.read_text())
    change(plan)
    path.write_text(json.dumps(plan))
    before = contents(place / "planned")

    done = run("prune", "--out", "planned")

    message = error_line(done)
    assert [words for words in says if words not in message] == []
    assert contents(place / "planned") == before
    assert half_written(place) == []


@pytest.mark.parametrize(
    ("file", "says"),
    [("scores.json", "line 1"), ("plan.json", "line 1"), ("stages.json", "line 1")],
)
def test_a_file_of_the_run_that_was_cut_off_is_named(file: str, says: str, place: Path) -> None:
    """A stage does not guess what a damaged file held."""
    path = place / "planned" / file
    path.write_text(path.read_text()[:100].replace("\n", " "))

    done = run("prune", "--out", "planned")

    message = error_line(done)
    assert f"planned/{file}" in message
    assert says in message
    assert not (place / "planned" / "pruned.safetensors").exists()


def test_scores_of_another_shape_are_named(place: Path) -> None:
    """JSON that is no table of scores is refused with the way out."""
    path = place / "out" / "scores.json"
    scores = json.loads(path.read_text())
    del scores["candidates"]
    path.write_text(json.dumps(scores))

    done = run("plan", "--layers", "2", "--out", "out")

    message = error_line(done)
    assert "out/scores.json lacks or misspells 'candidates'" in message
    assert "remove it" in message
    assert not (place / "out" / "plan.json").exists()


def test_more_layers_than_there_are(place: Path) -> None:
    """The count is checked against the candidates, and a smaller one can be asked for then."""
    too_many = run("plan", "--layers", "500", "--out", "out")
    fewer = run("plan", "--layers", "1", "--out", "out")

    assert "asks for 500 layers, only" in error_line(too_many)
    assert fewer.exit_code == 0, fewer.output
    assert len(json.loads((place / "out" / "plan.json").read_text())["choices"]) == 1


def test_a_plan_may_be_empty(place: Path, brief: None) -> None:
    """The network passes through whole: exported, measured, nothing removed."""
    path = place / "planned" / "plan.json"
    plan = json.loads(path.read_text())
    plan["choices"].clear()
    path.write_text(json.dumps(plan))

    done = run("prune-export", "--layers", "2", "--out", "planned")

    assert done.exit_code == 0, done.output
    summary = json.loads((place / "planned" / "summary.json").read_text())
    assert summary["removed"] == []
    assert summary["after"]["parameters"] == summary["before"]["parameters"]
    assert summary["after"]["ap"] == summary["before"]["ap"]
    assert (place / "planned" / "artifact" / "report.html").stat().st_size > 1000


@pytest.fixture
def made_up_times(monkeypatch: pytest.MonkeyPatch, brief: None) -> None:
    """Every layer takes a thousandth of the time, its substitutes none."""
    from xprune.layers.substitutes import applicable
    from xprune.pruning.latency_table import LatencyTable

    def measure(timings: Any, candidates: Any, settings: Any) -> LatencyTable:
        layers = {candidate.name: 1e-6 for candidate in candidates}
        free = {c.name: dict.fromkeys(("zero", *applicable(c)), 0.0) for c in candidates}
        return LatencyTable(1e-3, layers, free, settings)

    monkeypatch.setattr("xprune.stages.latency.table_from", measure)
    monkeypatch.setattr("xprune.stages.latency.time_graphs", lambda *rest: ())


def test_a_time_that_cannot_be_asked_for(place: Path, made_up_times: None) -> None:
    """After timing, a message says what there is; the next request uses what was measured."""
    too_fast = run("plan", "--speedup", "900", "--out", "out")
    table = (place / "out" / "latency.json").read_bytes()
    reached = run("plan", "--latency-ms", "900", "--out", "out")

    assert "--speedup 900 is not reachable" in error_line(too_fast)
    assert "ask for less" in error_line(too_fast)
    assert "--latency-ms 900 is reached without pruning" in error_line(reached)
    assert not (place / "out" / "plan.json").exists()
    assert half_written(place) == []
    assert (place / "out" / "latency.json").read_bytes() == table
    assert run("plan", "--layers", "1", "--out", "out").exit_code == 0
