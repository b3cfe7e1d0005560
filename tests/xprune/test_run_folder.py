"""The folder of a run: what it is bound to, what is done, and what must be done again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime_bench.errors import EdgeError, UsageError
from xprune.run_folder import RunFolder, next_free, open_run

INPUTS = ("scores.json",)
OUTPUTS = ("plan.json",)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose stages `attribute` and `plan` are done."""
    run = open_run(tmp_path / "run", {"layers": 2}, stage="plan")
    run.settle("plan")
    for name in (*INPUTS, *OUTPUTS):
        run.file(name).write_text("{}")
    run.mark_done("attribute", inputs=())
    run.mark_done("plan", inputs=INPUTS)
    return run


def reopened(run: RunFolder, stage: str = "measure", **given: object) -> RunFolder:
    """Open the same folder once more."""
    return open_run(run.path, given, stage=stage)


def test_opening_writes_nothing(tmp_path: Path) -> None:
    """A command that fails its first checks leaves no trace."""
    open_run(tmp_path / "run", {}, stage="measure")

    assert list(tmp_path.iterdir()) == []


def test_done_is_remembered(run: RunFolder) -> None:
    """A new process knows what an earlier one did."""
    assert reopened(run).is_done("plan", inputs=INPUTS, outputs=OUTPUTS)


@pytest.mark.parametrize("name", [*INPUTS, *OUTPUTS])
def test_done_needs_its_files(name: str, run: RunFolder) -> None:
    """A file that was removed is made again."""
    run.file(name).unlink()

    assert not run.is_done("plan", inputs=INPUTS, outputs=OUTPUTS)


def test_an_edited_input_undoes_a_stage(run: RunFolder) -> None:
    """The content counts, not the time."""
    run.file("scores.json").write_text('{"edited": true}')

    assert not run.is_done("plan", inputs=INPUTS, outputs=OUTPUTS)


def test_an_edited_output_stays(run: RunFolder) -> None:
    """A plan that a person edited is not planned again."""
    run.file("plan.json").write_text('{"edited": true}')

    assert run.is_done("plan", inputs=INPUTS, outputs=OUTPUTS)


def test_a_later_stage_may_still_say_its_options(run: RunFolder) -> None:
    """`recover` and `raw` matter after the plan; they are free until then."""
    later = reopened(run, recover="none", raw=True)

    assert later.config.recover == "none"
    assert later.is_done("plan", inputs=INPUTS, outputs=OUTPUTS)


def test_an_option_of_a_stage_that_is_settled_is_refused(run: RunFolder) -> None:
    """The message names every option that differs, and the way out."""
    with pytest.raises(UsageError) as error:
        reopened(run, seed=3, layers=5)

    assert "--seed is 3 here and 0 there; --layers is 5 here and 2 there" in str(error.value)
    assert str(error.value).endswith("choose another --out, or remove the folder")


def test_a_search_may_have_more_seconds(tmp_path: Path) -> None:
    """The same run goes on, and the plan is made again; another search is another run."""
    run = open_run(tmp_path / "run", {"search": "beam", "search_seconds": 10}, stage="plan")
    run.settle("plan")
    for name in (*INPUTS, *OUTPUTS):
        run.file(name).write_text("{}")
    run.mark_done("plan", inputs=INPUTS)

    more = reopened(run, "plan", search_seconds=20)

    assert reopened(run).is_done("plan", inputs=INPUTS, outputs=OUTPUTS)
    assert more.config.search_seconds == 20
    assert not more.is_done("plan", inputs=INPUTS, outputs=OUTPUTS)
    with pytest.raises(UsageError, match="--search is dp here and beam there"):
        reopened(run, "plan", search="dp")


def test_another_recovery_is_made_in_the_same_run(tmp_path: Path) -> None:
    """What came before the recovery holds; the recovery and what follows are made anew."""
    run = open_run(tmp_path / "run", {"recover": "refit"}, stage="export")
    run.settle("export")
    for name in (*INPUTS, *OUTPUTS):
        run.file(name).write_text("{}")
    run.mark_done("plan", inputs=INPUTS)
    run.mark_done("recover", inputs=INPUTS)

    other = reopened(run, "recover", recover="distill", recover_minutes=3.0)
    other.settle("recover")

    assert reopened(run).config.recover == "distill"
    assert other.is_done("plan", inputs=INPUTS, outputs=OUTPUTS)
    assert not other.is_done("recover", inputs=INPUTS, outputs=OUTPUTS)
    longer = reopened(other, "recover", recover_minutes=30.0)
    assert longer.config.recover_minutes == 30.0


def test_an_early_stage_does_not_unsettle_a_later_one(run: RunFolder) -> None:
    """`attribute` on a folder with a plan leaves the plan's options bound."""
    reopened(run, stage="attribute").settle("attribute")

    with pytest.raises(UsageError, match="--layers is 5 here"):
        reopened(run, layers=5)


def test_an_option_said_early_is_kept_for_its_stage(tmp_path: Path) -> None:
    """`attribute --raw` is a raw export later, unless something else is said by then."""
    open_run(tmp_path, {"raw": True, "speedup": 3.0}, stage="attribute").settle("attribute")

    assert open_run(tmp_path, {}, stage="export").config.raw
    assert open_run(tmp_path, {"layers": 4}, stage="plan").config.speedup is None


def test_an_error_leaves_what_is_done_bound_and_the_rest_free(run: RunFolder) -> None:
    """After a failed stage its request may change; what is made stays bound."""
    failed = reopened(run, raw=True)
    failed.settle("measure")
    failed.forget_unmade()

    assert not reopened(run).config.raw
    with pytest.raises(UsageError, match="--layers"):
        reopened(run, layers=5)


def test_a_folder_where_nothing_was_made_is_free(tmp_path: Path) -> None:
    """A first stage that failed binds nothing at all."""
    failed = open_run(tmp_path / "run", {"criterion": "l1"}, stage="measure")
    failed.settle("measure")
    failed.forget_unmade()

    again = open_run(tmp_path / "run", {"criterion": "random"}, stage="measure")

    assert again.stage is None
    assert again.config.criterion == "random"


def test_settling_the_same_writes_nothing(run: RunFolder) -> None:
    """The file keeps its time when its content is the same."""
    before = run.file("run.json").stat().st_mtime_ns

    reopened(run, stage="plan").settle("plan")

    assert run.file("run.json").stat().st_mtime_ns == before


def test_a_file_that_an_option_names_is_bound_by_its_content(tmp_path: Path) -> None:
    """The same name with other weights is another run; a file that is gone is not looked at."""
    weights = tmp_path / "own.pt"
    weights.write_bytes(b"one")
    open_run(tmp_path / "run", {"model": str(weights)}, stage="plan").settle("plan")

    weights.write_bytes(b"two")
    with pytest.raises(UsageError, match=r"own\.pt was changed since that run began"):
        open_run(tmp_path / "run", {}, stage="plan")
    weights.unlink()
    assert open_run(tmp_path / "run", {}, stage="plan").config.model == str(weights)


def test_leftovers_of_dead_processes_are_removed_everywhere(tmp_path: Path) -> None:
    """Also below the folder: an artifact may have been half written."""
    run = open_run(tmp_path / "run", {}, stage="plan")
    leftovers = [
        run.file(".plan.json.partial-999999999"),
        run.file("artifact") / ".report.html.partial-999999999",
    ]
    for path in leftovers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")

    run.settle("plan")

    assert [path for path in leftovers if path.exists()] == []


def test_numbers_count_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run without --out gets a folder of its own, named after the model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "best-1").mkdir(parents=True)

    assert next_free("weights/best.pt") == Path("runs", "best-2")
    assert next_free("builtin") == Path("runs", "builtin-1")


def test_a_stopped_run_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the latest one, of this configuration, on the way to the same stage, unfinished."""
    monkeypatch.chdir(tmp_path)
    run = open_run(None, {}, stage="measure")
    run.settle("measure")

    assert open_run(None, {}, stage="measure").path == run.path
    assert open_run(None, {"seed": 1}, stage="measure").path == Path("runs", "builtin-2")
    assert open_run(None, {}, stage="attribute").path == Path("runs", "builtin-2")
    run.mark_done("measure", inputs=())
    assert open_run(None, {}, stage="measure").path == Path("runs", "builtin-2")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a run's configuration"),
        ('{"format": "xprune-edge run", "version": 2}', "has version 2"),
        (
            '{"format": "xprune-edge run", "version": 1, "stage": "cook", "options": {}}',
            "not a run's",
        ),
        (
            '{"format": "xprune-edge run", "version": 1, "stage": [], "options": {}}',
            "not a run's",
        ),
        ('{"format": "xprune-edge run", "version": 1, "stage": "plan"}', "not a run's"),
    ],
)
def test_a_damaged_configuration_is_refused(content: str, says: str, tmp_path: Path) -> None:
    """Whatever it holds, it is one error that names the file."""
    (tmp_path / "run.json").write_text(content)

    with pytest.raises(EdgeError, match=says) as error:
        open_run(tmp_path, {}, stage="plan")

    assert "run.json" in str(error.value)


def test_stages_of_another_shape_are_refused(run: RunFolder) -> None:
    """The message says how to have the stages run again."""
    run.file("stages.json").write_text(json.dumps(["plan"]))

    with pytest.raises(EdgeError, match="remove it to have them run again"):
        run.is_done("plan", inputs=INPUTS, outputs=OUTPUTS)
