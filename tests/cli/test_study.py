"""What `study` refuses, in one line, before it makes anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import error_line, run

pytestmark = pytest.mark.needs_torch

STUDY = """
images = 4
calibration_images = 4
[[architectures]]
model = "tiny.yaml"
weights = "none"
data = "scenes/instances.json"
imgsz = 64
"""


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        (STUDY.replace("4", "0"), (), "images is '0', must be a whole number at least 1"),
        (STUDY.replace("64", "65"), (), "65x65 is not a multiple of the network's stride"),
        (STUDY.replace("tiny.yaml", "magic"), (), "no model is called 'magic'"),
        (STUDY.replace("scenes/", "nowhere/"), (), "tiny: there is no nowhere/instances.json"),
        (STUDY, ("--only", "huge"), "--only huge: the study has tiny"),
        (STUDY, ("--data-root", "elsewhere"), "tiny: there is no elsewhere/scenes/instances"),
        (STUDY.replace("images = 4\n", "images = 9\n", 1), (), "12 pictures; 13 are needed"),
        ("speed = ", (), "study.toml is not valid TOML"),
    ],
)
def test_what_cannot_be_asked_for(
    place: Path, text: str, arguments: tuple[str, ...], words: str
) -> None:
    """Nothing is written, not even the folder."""
    (place / "study.toml").write_text(text)

    result = run("study", "study.toml", *arguments, "--out", "out")

    assert words in error_line(result)
    assert not (place / "out").exists()


def test_a_study_file_that_is_not_there(place: Path) -> None:
    """The default one lies in a checkout; its path is said."""
    result = run("study", "--out", "out")

    assert "configs/study_paper.toml cannot be read" in error_line(result)


def test_a_folder_that_holds_something_else(place: Path) -> None:
    """Nothing of a person's is overwritten."""
    (place / "study.toml").write_text(STUDY)

    result = run("study", "study.toml", "--out", "scenes")

    assert "scenes holds files but no study" in error_line(result)
