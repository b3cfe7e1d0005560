"""What `frontier` refuses, in one line, before it makes anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import error_line, run

pytestmark = pytest.mark.needs_torch

TINY = ("--model", "tiny.yaml", "--weights", "none", "--data", "scenes/instances.json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--budget", "0"), "budget 0 is not a share of the latency above 0 and at most 1"),
        (("--budget", "1.01"), "budget 1.01 is not a share"),
        (("--budget", "nan"), "budget nan is not a share"),
        (("--method", "magic"), "no method is called 'magic'; there are: grad_act, "),
        (("--recover", "prayer"), "recover is 'prayer', not one of none, refit, distill"),
        (("--recover-minutes", "0"), "recover_minutes is 0, must be above 0"),
        (("--imgsz", "65"), "65x65 is not a multiple of the network's stride"),
        (("--imgsz", "auto"), "--imgsz is the unpruned model's here"),
        (("--conf", "2"), "conf is 2.0, must be above 0 and at most 1"),
    ],
)
def test_what_cannot_be_asked_for(place: Path, arguments: tuple[str, ...], words: str) -> None:
    """Nothing is written, not even the folder."""
    result = run("frontier", *TINY, "--images", 4, *arguments, "--out", "out")

    assert words in error_line(result)
    assert not (place / "out").exists()


def test_a_folder_that_holds_something_else(place: Path) -> None:
    """Nothing of a person's is overwritten."""
    result = run("frontier", *TINY, "--images", 4, "--calibration-images", 4, "--out", "scenes")

    assert "scenes holds files but no frontier" in error_line(result)


def test_a_folder_that_is_a_file(place: Path) -> None:
    """The message says so."""
    result = run(
        "frontier", *TINY, "--images", 4, "--calibration-images", 4, "--out", "tiny.yaml"
    )

    assert "tiny.yaml is a file" in error_line(result)


def test_a_recheck_without_a_frontier(place: Path) -> None:
    """It says how to make one."""
    result = run("frontier", "--recheck", "ours", "--out", "nowhere")

    assert "nowhere holds no frontier; make one with" in error_line(result)


def test_a_recheck_takes_no_other_options(place: Path) -> None:
    """They are those of the frontier."""
    result = run("frontier", "--recheck", "ours", "--model", "tiny.yaml", "--out", "nowhere")

    assert "--recheck takes all but --budget from the frontier's folder" in error_line(result)


def test_a_frontier_that_was_damaged(place: Path) -> None:
    """A file that is none of ours is named."""
    (place / "f").mkdir()
    (place / "f" / "settings.json").write_text("{}")

    result = run("frontier", *TINY, "--images", 4, "--calibration-images", 4, "--out", "f")

    assert "settings.json does not hold a frontier's settings" in error_line(result)
