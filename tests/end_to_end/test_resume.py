"""The same command again, an edited file, another option: what runs again and what does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.commands import LITTLE, TINY, contents, error_line, run


def times(folder: Path) -> dict[str, int]:
    """Return when each file below `folder` was written, in nanoseconds."""
    return {name: (folder / name).stat().st_mtime_ns for name in contents(folder)}


def changed(before: dict[str, int], folder: Path) -> set[str]:
    """Return the names of the files that were written since."""
    return {name for name, time_ns in times(folder).items() if before.get(name) != time_ns}


def test_the_same_command_again_writes_nothing(work: Path) -> None:
    """A finished run is only shown: the same table, and no file is touched."""
    before = times(work / "out")

    done = run("prune-export", *TINY, "--out", "out")

    assert done.exit_code == 0, done.output
    assert "AP" in done.stdout
    assert changed(before, work / "out") == set()
    assert done.stderr.count("already") == 5


def test_the_folder_alone_is_enough_to_go_on(work: Path) -> None:
    """Options that are not given are those of the run."""
    before = times(work / "out")

    done = run("prune-export", "--out", "out")

    assert done.exit_code == 0, done.output
    assert changed(before, work / "out") == set()


def test_an_edited_plan_is_cut_again(work: Path, brief: None) -> None:
    """Scores stay; the pruned model, the artifact and the result are made of the edit."""
    path = work / "out" / "plan.json"
    plan = json.loads(path.read_text())
    plan["choices"] = [{"layer": "model.2.m.0", "substitute": "identity"}]
    path.write_text(json.dumps(plan))
    before = times(work / "out")

    done = run("prune-export", *TINY, "--out", "out")

    assert done.exit_code == 0, done.output
    assert changed(before, work / "out") == {
        *("pruned.safetensors", "artifact/model.onnx", "artifact/manifest.json"),
        *("artifact/report.html", "result.json", "summary.json", "stages.json"),
    }
    summary = json.loads((work / "out" / "summary.json").read_text())
    assert [entry["layer"] for entry in summary["removed"]] == ["model.2.m.0"]
    assert summary["removed"][0]["reason"] == "named by hand"


@pytest.mark.parametrize(
    ("file", "written"),
    [
        ("summary.json", {"artifact/report.html", "artifact/manifest.json"}),
        ("artifact/report.html", {"artifact/manifest.json"}),
        ("pruned.safetensors", set()),
        ("unpruned/model.onnx", set()),
    ],
)
def test_a_file_that_was_removed_is_made_again(
    file: str, written: set[str], work: Path, brief: None
) -> None:
    """What went missing comes back, and with it all that is measured from it."""
    (work / "out" / file).unlink()
    before = times(work / "out")

    done = run("prune-export", *TINY, "--out", "out")

    assert done.exit_code == 0, done.output
    assert {file, *written} <= changed(before, work / "out")
    assert "scores.json" not in changed(before, work / "out")


def test_a_changed_artifact_is_exported_again(work: Path, brief: None) -> None:
    """A model that is not the one in the manifest is never measured as if it were."""
    model = work / "out" / "artifact" / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    done = run("prune-export", *TINY, "--out", "out")

    assert done.exit_code == 0, done.output
    assert "changed since; it is exported again" in done.stderr
    assert model.read_bytes() == content


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--criterion", "l1"), "--criterion is l1 here and divergence there"),
        (("--imgsz", "96x64"), "--imgsz is 96x64 here and 64x64 there"),
        (("--layers", "3"), "--layers is 3 here and 1 there"),
        (("--speedup", "1.5"), "--speedup is 1.5 here and not given there"),
        (("--raw",), "--raw is True here and False there"),
        (("--calibration-images", "5"), "--calibration-images is 5 here and 4 there"),
    ],
)
def test_another_option_is_refused_by_name(
    options: tuple[str, ...], says: str, work: Path
) -> None:
    """A folder holds one configuration; the message names what differs, and nothing changes."""
    before = times(work / "out")

    done = run("prune-export", "--out", "out", *options)

    message = error_line(done)
    assert says in message
    assert "choose another --out" in message
    assert done.exit_code == 2
    assert changed(before, work / "out") == set()


def test_a_model_that_was_changed_is_refused(work: Path) -> None:
    """Scores of one network are never used for another that has the same file name."""
    (work / "tiny.yaml").write_text((work / "tiny.yaml").read_text() + "\n# changed\n")

    done = run("prune-export", *TINY, "--out", "out")

    assert "tiny.yaml was changed since that run began" in error_line(done)


def test_stage_by_stage_leaves_the_same_files(work: Path, brief: None) -> None:
    """Single commands end where `prune-export` does; each says what comes next."""
    stages = (
        ("attribute", *TINY[:8], *LITTLE[6:]),
        ("plan", "--layers", "1", "--threads", "1"),
        ("prune",),
        ("export",),
        ("prune-export",),
    )

    ends = [run(*stage, "--out", "single") for stage in stages]

    assert [done.exit_code for done in ends] == [0] * 5, ends[-1].output
    assert [done.stdout.rpartition("; next: ")[2].split()[1] for done in ends[:4]] == [
        *("plan", "prune", "export", "bench")
    ]
    assert contents(work / "single") == contents(work / "out")
    for name in ("scores.json", "plan.json", "data.json", "artifact/model.onnx"):
        assert (work / "single" / name).read_bytes() == (work / "out" / name).read_bytes()


def test_a_plan_may_be_made_before_raw_is_asked_for(work: Path, brief: None) -> None:
    """Both artifacts end alike, or their latencies could not be compared."""
    for stage in (
        ("attribute", *TINY[:8], *LITTLE[6:]),
        ("plan", "--layers", "1", "--threads", "1"),
    ):
        assert run(*stage, "--out", "raw").exit_code == 0
    shutil.copytree(work / "out" / "unpruned", work / "raw" / "unpruned")  # with NMS

    assert run("prune-export", "--out", "raw", "--raw").exit_code == 0

    kinds = [
        json.loads((work / "raw" / folder / "manifest.json").read_text())["output"]["kind"]
        for folder in ("unpruned", "artifact")
    ]
    assert kinds == ["raw", "raw"]


def test_options_from_a_file_and_the_command_line_before_it(work: Path, brief: None) -> None:
    """A TOML file is a run; what is given on the command line goes before it."""
    (work / "c.toml").write_text(
        'model = "tiny.yaml"\nweights = "none"\ndata = "builtin"\nimgsz = 64\nthreads = 1\n'
        'images = 4\ncalibration_images = 9\nspeedup = 2\nout = "elsewhere"\n'
    )
    options = ("--config", "c.toml", "--calibration-images", "4", "--layers", "1")

    there = run("attribute", *options)
    same = run("plan", *options, "--out", "elsewhere")

    assert there.exit_code == 0, there.output
    assert same.exit_code == 0, same.output
    told = json.loads((work / "elsewhere" / "run.json").read_text())["options"]
    assert told["calibration_images"] == 4
    assert (told["layers"], told["speedup"]) == (1, None)
    assert (work / "elsewhere" / "plan.json").read_bytes() == (
        work / "out" / "plan.json"
    ).read_bytes()


def test_without_out_a_stopped_run_is_gone_on_with(work: Path, brief: None) -> None:
    """The same command without --out finds the run that was stopped; a finished one stays."""
    shutil.copytree(work / "out", work / "runs" / "tiny-1")
    stages = json.loads((work / "out" / "stages.json").read_text())
    del stages["measure"]
    (work / "runs" / "tiny-1" / "stages.json").write_text(json.dumps(stages))

    stopped = run("prune-export", *TINY)
    other = run("attribute", *TINY, "--seed", "1")

    assert stopped.exit_code == 0, stopped.output
    assert "Continuing runs/tiny-1" in stopped.stderr
    assert "Beginning runs/tiny-2" in other.stderr
    assert "Beginning runs/tiny-2" not in stopped.stderr


def test_an_error_does_not_bind_the_folder(work: Path) -> None:
    """After a request that could not be met, a better one is taken in the same folder."""
    options = (*TINY[:6], *LITTLE[:4], *LITTLE[6:])

    refused = run("prune-export", *options, "--layers", "900", "--out", "new")
    taken = run("plan", "--layers", "1", "--threads", "1", "--out", "new")

    assert "asks for 900 layers" in error_line(refused)
    assert taken.exit_code == 0, taken.output
