"""Every run that is written down in configs/ is one that the command accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from xprune.config import make_config, read_config
from xprune.study.config import read_study

FOLDER = Path(__file__).resolve().parents[2] / "configs"
STUDIES = sorted(FOLDER.glob("study_*.toml"))
FILES = sorted(set(FOLDER.glob("*.toml")) - set(STUDIES))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_configuration_is_accepted(file: Path) -> None:
    """Each key is an option, and each value one that the option takes."""
    pytest.importorskip("tomllib", reason="--config needs Python 3.11")

    assert make_config(read_config(file)).model


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.name)
def test_a_study_is_accepted(file: Path) -> None:
    """It can be read, and names no place on anyone's machine."""
    pytest.importorskip("tomllib", reason="a study needs Python 3.11")

    for entry in read_study(file).entries:
        paths = [entry.model, entry.weights, entry.data, entry.images_dir, entry.calibration]
        assert not any(path and Path(path).is_absolute() for path in paths)


def test_the_papers_study_has_its_six_architectures() -> None:
    """At several ratios and seeds, with both criteria and every mode."""
    pytest.importorskip("tomllib", reason="a study needs Python 3.11")

    study = read_study(FOLDER / "study_paper.toml")

    assert len(study.entries) == 6
    assert 0.05 in study.ratios
    assert min(len(study.ratios), len(study.seeds)) > 1
    assert study.criteria == ("l1", "grad_act")
    assert study.modes == ("zeroed", "removed", "default")


def test_there_is_a_configuration() -> None:
    """The test above had something to read."""
    assert FILES
    assert STUDIES
