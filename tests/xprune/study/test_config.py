"""What a study file may say, and what is said where it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime_bench.errors import UsageError
from xprune.study.config import Entry, StudyConfig, entry_problem, only, read_study, resolved

pytest.importorskip("tomllib", reason="a study file needs Python 3.11")

ONE = '[[architectures]]\nmodel = "resnet50"\nweights = "none"\n'


def read(folder: Path, text: str) -> StudyConfig:
    """Read a file that holds a text."""
    path = folder / "study.toml"
    path.write_text(text)
    return read_study(path)


def test_an_architecture_is_enough(tmp_path: Path) -> None:
    """The rest is the seed paper's: its two criteria, 5 % of the convolutions."""
    study = read(tmp_path, ONE)

    assert study.entries == (Entry("resnet50", "resnet50", "none"),)
    assert study.criteria == ("l1", "grad_act")
    assert study.ratios == (0.05,)


def test_what_is_said_once_holds_for_all(tmp_path: Path) -> None:
    """Unless an architecture says otherwise."""
    text = f'images = 9\nimgsz = 64\n{ONE}[[architectures]]\nmodel = "retinanet:resnet18"\n'
    study = read(tmp_path, f'{text}imgsz = "64x96"\nimages = 3\n')

    first, second = study.entries
    assert (first.images, first.imgsz) == (9, (64, 64))
    assert (second.name, second.images, second.imgsz) == ("retinanet-resnet18", 3, (64, 96))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"there is no \[\[architectures\]\] table with a model"),
        ("architectures = 3", r"there is no \[\[architectures\]\] table with a model"),
        ("[[architectures]]\nname = 'a'", "number 1 has no model"),
        (f"speed = 3\n{ONE}", "there is no option 'speed'; there are: criteria, modes"),
        (f"{ONE}magic = 3", "resnet50: there is no option 'magic'; there are: name, model"),
        (f"{ONE}name = '../up'", r"'\.\./up', must be letters, digits"),
        (f"{ONE}images = 0", "resnet50: images is '0', must be a whole number at least 1"),
        (f"{ONE}images = true", "images is 'True', must be a whole number"),
        (f"{ONE}imgsz = 'auto'", "imgsz is 'auto', must be a side"),
        (f"{ONE}imgsz = 5000", "imgsz is '5000', must be a side .* at most 4096"),
        (f"{ONE}imgsz = [64, 64]", "imgsz is .*, must be a side"),
        (f"{ONE}data = 3", "data is '3', must be a text"),
        (f"{ONE}images_dir = 'x'", "images_dir belongs to a COCO JSON"),
        (f"{ONE}{ONE}", "2 architectures are called 'resnet50'; give each a name"),
        (f"ratios = [0.05, 0]\n{ONE}", "ratios is .*, each must be a number above 0"),
        (f"ratios = [nan]\n{ONE}", "ratios is .*, each must be a number above 0"),
        (f"ratios = []\n{ONE}", "ratios is .*, must be a list of 1 to 64"),
        (f"ratios = 0.05\n{ONE}", "ratios is '0.05', must be a list of 1 to 64"),
        (f"seeds = [1, 1]\n{ONE}", "seeds is .*, has one entry twice"),
        (f"seeds = [-1]\n{ONE}", "seeds is .*, each must be a whole number from 0"),
        (f"criteria = ['fisher']\n{ONE}", "criteria is .*, each not one of l1, l1_mean"),
        (f"modes = ['cut']\n{ONE}", "modes is .*, each not one of zeroed, removed, default"),
        (f"own_criterion = 'magic'\n{ONE}", "own_criterion is 'magic', not one of"),
        (f"own_substitute = ['zero']\n{ONE}", "own_substitute is .*, not one of"),
        (f"threads = 0\n{ONE}", "threads is '0', must be a whole number from 1 to 1024"),
        (f"timing_seconds = inf\n{ONE}", "timing_seconds is 'inf', must be a number above 0"),
        ("ratios = [", "is not valid TOML"),
    ],
)
def test_what_a_study_cannot_say(tmp_path: Path, text: str, words: str) -> None:
    """One line says what is wrong, and where."""
    with pytest.raises(UsageError, match=words) as caught:
        read(tmp_path, text)

    assert "\n" not in str(caught.value)
    assert "study.toml" in str(caught.value)


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Not one after the other."""
    with pytest.raises(UsageError, match=r"threads is .*; modes is .*; resnet50: images is"):
        read(tmp_path, f"threads = -1\nmodes = 3\n{ONE}images = 0")


def test_some_of_the_architectures(tmp_path: Path) -> None:
    """In the order in which they are named; an unknown one is refused."""
    study = read(tmp_path, f'{ONE}[[architectures]]\nmodel = "resnet18"\n')

    assert [entry.name for entry in only(study, ())] == ["resnet50", "resnet18"]
    assert [entry.name for entry in only(study, ("resnet18",))] == ["resnet18"]
    with pytest.raises(UsageError, match="--only vgg16: the study has resnet50, resnet18"):
        only(study, ("vgg16",))


def test_paths_start_at_the_root(tmp_path: Path) -> None:
    """Words that stand for no file stay words; a model is a file only where there is one."""
    (tmp_path / "mine.pt").touch()
    entry = Entry("a", "mine.pt", data="photos", calibration="builtin")

    options = resolved(entry, tmp_path)

    assert options["model"] == str(tmp_path / "mine.pt")
    assert options["data"] == str(tmp_path / "photos")
    assert options["calibration"] == "builtin"
    assert options["weights"] is None
    assert resolved(Entry("a", "resnet50", "none"), tmp_path)["model"] == "resnet50"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """With what could be done."""
    problem = entry_problem(Entry("a", "resnet50", "weights/a.pth"), tmp_path)

    assert problem is not None
    assert f"a: there is no {tmp_path}/weights/a.pth (weights); paths of a study" in problem
    assert entry_problem(Entry("a", "resnet50", "none"), tmp_path) is None
