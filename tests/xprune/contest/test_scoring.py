"""Scores of artifacts on the same pictures, kept and paired."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime_bench.accuracy.predictions import evaluate_artifact
from runtime_bench.data.dataset import Dataset
from runtime_bench.runtime.settings import SessionSettings
from tests.reference.tiny_models import NAMES, write_classifier
from tests.runtime_bench.accuracy.test_predictions import red_picture
from xprune.contest.scoring import Scorer


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Six pictures; the tiny artifact finds the box of some of them."""
    pictures = []
    for number in range(6):
        picture = red_picture(tmp_path, f"{number}.png", size=(32, 64), red=40 * number)
        width = 16 if number % 2 else 40
        box = np.array([[8, 4, 8 + width, 20]], np.float32)
        pictures.append(type(picture)(**{**vars(picture), "boxes": box}))
    return Dataset("made-up", ("square",), tuple(pictures), True)


def scorer(folder: Path, dataset: Dataset) -> Scorer:
    """Return a scorer that keeps what it finds in `folder`."""
    return Scorer(folder, dataset, SessionSettings(threads=1), seed=0)


def test_ap_and_interval(tmp_path: Path, dataset: Dataset, repository: Path) -> None:
    """The AP of pycocotools, inside an interval that pictures which differ make wide."""
    artifact = repository / "tests" / "data" / "tiny_artifact"

    scored = scorer(tmp_path, dataset)

    low, high = scored.interval(artifact)
    expected = evaluate_artifact(artifact, dataset, progress=False).ap
    assert scored.accuracy(artifact) == pytest.approx(expected, abs=1e-12)
    assert low < expected < high


def test_an_artifact_is_no_better_than_itself(
    tmp_path: Path, dataset: Dataset, repository: Path
) -> None:
    """Paired: the same pictures on both sides, so nothing is left of their spread."""
    artifact = repository / "tests" / "data" / "tiny_artifact"

    assert scorer(tmp_path, dataset).difference(artifact, artifact) == (0.0, (0.0, 0.0))


def test_what_was_matched_is_read_again(
    tmp_path: Path, dataset: Dataset, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file is made anew."""
    artifact = repository / "tests" / "data" / "tiny_artifact"
    first = scorer(tmp_path, dataset).accuracy(artifact)
    (kept,) = (tmp_path / "matches").iterdir()

    with monkeypatch.context() as patch:
        patch.setattr("xprune.contest.scoring.detect_all", None)
        assert scorer(tmp_path, dataset).accuracy(artifact) == first
    kept.write_bytes(kept.read_bytes()[:40])

    assert scorer(tmp_path, dataset).accuracy(artifact) == first


def test_a_classifier_is_scored_by_its_best_class(tmp_path: Path, dataset: Dataset) -> None:
    """The share of pictures that it names rightly, in an interval of sets drawn by hand."""
    artifact = write_classifier(tmp_path / "classifier")
    classes = Dataset("made-up", NAMES, dataset.pictures, True, task="classify")
    found = evaluate_artifact(artifact, classes, progress=False)

    scored = scorer(tmp_path, classes)

    right = scored._matches(artifact, "kept anyhow").hits
    draws = np.random.default_rng(5).integers(0, len(right), (20_000, len(right)))
    expected = np.quantile(right[draws].mean(axis=1), [0.025, 0.975])
    assert scored.accuracy(artifact) == found.top1 == right.mean()
    assert scored.interval(artifact) == pytest.approx(tuple(expected), abs=0.05)
    assert scored.difference(artifact, artifact) == (0.0, (0.0, 0.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xprune.contest.scoring.detect_all", None)
        assert scorer(tmp_path, classes).accuracy(artifact) == found.top1, "read again"
