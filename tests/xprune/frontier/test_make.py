"""A frontier from start to end: its JSON, its cache, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime_bench.accuracy.predictions import evaluate_artifact
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import sha256_of
from tests.xprune.frontier.conftest import Counted, MakeSettings
from xprune.frontier.make import make_frontier, open_ground
from xprune.frontier.recheck import recheck_points

pytestmark = pytest.mark.usefixtures("briefly", "no_rewrites")

POINT = {
    *("method", "budget", "command", "seconds", "ap", "ap_interval", "ap_ratio"),
    *("ap_ratio_interval", "latency_ratio", "latency_interval", "on_budget", "imgsz"),
    *("precision", "removed", "plan", "recovered", "sha256", "artifact"),
}


def quiet(line: str) -> None:
    """Say nothing."""


def test_the_json_holds_what_a_reader_needs(
    tmp_path: Path, settings_of: MakeSettings, counted: Counted
) -> None:
    """Base, points with all figures, differences with intervals; the file is the answer."""
    out = tmp_path / "out"
    settings = settings_of(("ours", 0.9), ("same", 0.9), ("never", 0.9))

    content = make_frontier(settings, out, counted.methods, say=quiet)

    assert json.loads((out / "frontier.json").read_text()) == content
    ours, same, never = content["points"]
    assert set(ours) == set(same) == POINT
    assert (ours["imgsz"], ours["precision"]) == ([48, 64], "float32")
    assert ours["plan"] == [["model.2", "linear"]]
    assert ours["removed"] == [{"layer": "model.2", "substitute": "linear", "score": 0.5}]
    assert ours["sha256"] == sha256_of(out / ours["artifact"] / "model.onnx")
    low, high = ours["latency_interval"]
    assert 0 < low <= ours["latency_ratio"] <= high
    assert never == {**never, "method": "never", "error": "0.9 is out of reach"}
    assert content["base"]["latency_s"] > 0
    assert [(d["method"], d["against"]) for d in content["differences"]] == [("ours", "same")]
    assert (out / "frontier.md").exists()
    assert (out / "frontier.html").exists()


def test_ap_is_that_of_the_artifact(
    tmp_path: Path, settings_of: MakeSettings, counted: Counted
) -> None:
    """The scorer with resampling agrees with pycocotools' own figure."""
    settings = settings_of(("ours", 0.9))

    content = make_frontier(settings, tmp_path / "out", counted.methods, say=quiet)

    ground = open_ground(settings, tmp_path / "out", quiet)
    artifact = tmp_path / "out" / content["points"][0]["artifact"]
    expected = evaluate_artifact(artifact, ground.bench.sets.test, progress=False).ap
    assert content["points"][0]["ap"] == pytest.approx(expected, abs=1e-12)


def test_the_command_of_a_point_makes_that_point(
    tmp_path: Path, settings_of: MakeSettings, counted: Counted
) -> None:
    """It names the method, the budget, the recovery and every option."""
    settings = settings_of(("ours", 0.9))

    content = make_frontier(settings, tmp_path / "out", counted.methods, say=quiet)

    command = content["points"][0]["command"]
    assert command.startswith("xprune-edge frontier --model ")
    assert "--imgsz 64x64" in command
    assert "--recover refit --method ours --budget 0.9" in command


def test_what_is_whole_is_not_made_again(
    tmp_path: Path, settings_of: MakeSettings, counted: Counted
) -> None:
    """Nor what could not be made; more budgets come to what is there."""
    out = tmp_path / "out"
    make_frontier(settings_of(("ours", 0.9), ("never", 0.9)), out, counted.methods, say=quiet)
    content = make_frontier(settings_of(("ours", 0.8)), out, counted.methods, say=quiet)

    assert counted.built == [("ours", 0.9), ("never", 0.9), ("ours", 0.8)]
    arms = [(point["method"], point["budget"]) for point in content["points"]]
    assert sorted(arms) == [("never", 0.9), ("ours", 0.8), ("ours", 0.9)]


def test_an_arm_whose_model_was_touched_is_made_again(
    tmp_path: Path, settings_of: MakeSettings, counted: Counted
) -> None:
    """Its checksum says so."""
    out = tmp_path / "out"
    settings = settings_of(("ours", 0.9))
    content = make_frontier(settings, out, counted.methods, say=quiet)
    model = out / content["points"][0]["artifact"] / "model.onnx"
    model.write_bytes(model.read_bytes() + b"x")

    make_frontier(settings, out, counted.methods, say=quiet)

    assert counted.built == [("ours", 0.9)] * 2


def test_an_arm_of_other_facts_begins_anew(
    tmp_path: Path, settings_of: MakeSettings, counted: Counted
) -> None:
    """A method that changed does not find what its older self left."""
    out = tmp_path / "out"
    settings = settings_of(("ours", 0.9))
    make_frontier(settings, out, counted.methods, say=quiet)
    left = out / "arms" / "ours-0.9" / "left.txt"
    left.write_text("half done")
    methods = {**counted.methods}
    methods["ours"] = type(methods["ours"])("other", methods["ours"].build, {"size": 32})

    make_frontier(settings, out, methods, say=quiet)

    assert counted.built == [("ours", 0.9)] * 2
    assert not left.exists()


def test_an_arm_cannot_name_a_place_outside(
    tmp_path: Path, settings_of: MakeSettings, counted: Counted
) -> None:
    """A file that was changed by hand is refused in one line."""
    out = tmp_path / "out"
    settings = settings_of(("ours", 0.9))
    make_frontier(settings, out, counted.methods, say=quiet)
    arm = out / "arms" / "ours-0.9" / "arm.json"
    content = json.loads(arm.read_text())
    content["made"][0]["artifact"] = "../../somewhere"
    arm.write_text(json.dumps(content))

    with pytest.raises(EdgeError, match=r"damaged .*outside the frontier"):
        make_frontier(settings, out, counted.methods, say=quiet)


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ([("ours", 1.2)], "budget 1.2 is not a share of the latency above 0 and at most 1"),
        ([("ours", 0.0)], "budget 0 is not a share"),
        ([("ours", -1.0)], "budget -1 is not a share"),
        ([("theirs", 0.5)], "no method is called 'theirs'; there are: never, ours, same"),
        ([], "say for which latencies"),
    ],
)
def test_what_cannot_be_asked_for(
    tmp_path: Path,
    settings_of: MakeSettings,
    counted: Counted,
    arms: list[tuple[str, float]],
    words: str,
) -> None:
    """One line says it, and nothing is written."""
    with pytest.raises(UsageError, match=words):
        make_frontier(settings_of(*arms), tmp_path / "out", counted.methods, say=quiet)

    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_frontier_is_refused(
    tmp_path: Path, settings_of: MakeSettings, counted: Counted
) -> None:
    """The message names the options that differ."""
    out = tmp_path / "out"
    make_frontier(settings_of(("same", 0.9)), out, counted.methods, say=quiet)

    with pytest.raises(
        UsageError, match=r"holds another frontier: --images is 3 here and 4 th"
    ):
        make_frontier(settings_of(("same", 0.9), images=3), out, counted.methods, say=quiet)


def test_a_folder_that_holds_something_else_is_refused(
    tmp_path: Path, settings_of: MakeSettings, counted: Counted
) -> None:
    """Nothing of a person's is overwritten."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")

    with pytest.raises(EdgeError, match="holds files but no frontier"):
        make_frontier(settings_of(("same", 0.9)), out, counted.methods, say=quiet)


def test_a_recheck_makes_the_point_anew_and_agrees(
    tmp_path: Path,
    settings_of: MakeSettings,
    counted: Counted,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a folder of its own: the same file comes out, with the same AP."""
    out = tmp_path / "out"
    make_frontier(settings_of(("ours", 0.9)), out, counted.methods, say=quiet)

    recheck_points(out, "ours", counted.methods, budgets=(), say=quiet)

    said = capsys.readouterr().out
    assert counted.built == [("ours", 0.9)] * 2
    assert "the same file" in said
    assert "AP" in said


def test_a_recheck_needs_such_points(
    tmp_path: Path, settings_of: MakeSettings, counted: Counted
) -> None:
    """The message lists those that there are."""
    out = tmp_path / "out"
    make_frontier(settings_of(("ours", 0.9)), out, counted.methods, say=quiet)

    with pytest.raises(UsageError, match=r"no such points; there are: ours for 0\.9"):
        recheck_points(out, "same", counted.methods, budgets=(), say=quiet)


def test_a_recheck_needs_a_frontier(tmp_path: Path, counted: Counted) -> None:
    """An empty folder is none."""
    with pytest.raises(EdgeError, match="holds no frontier"):
        recheck_points(tmp_path, "ours", counted.methods, budgets=(), say=quiet)
