"""Folders called by WordNet's ids meet models whose classes are called by words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime_bench.data.dataset import match_classes, read_dataset
from runtime_bench.data.wordnet import INDEX_FILE
from runtime_bench.errors import EdgeError
from tests.runtime_bench.data.test_class_folder import write

WORDS = ("tench", "goldfish", "great white shark")
IDS = ("n01440764", "n01443537", "n01484850")
INDEX = {
    str(label): [one, word] for label, (one, word) in enumerate(zip(IDS, WORDS, strict=True))
}


def folders(root: Path, *ids: str) -> Path:
    """A folder for each class, one picture in each."""
    for one in ids:
        write(root / one / f"{one}_1.png")
    return root


def labels(root: Path, names: tuple[str, ...] = WORDS) -> list[int]:
    """The label of each picture, for a model with these classes."""
    dataset = match_classes(read_dataset(root), names, task="classify")
    assert dataset.names == names
    return [int(picture.labels[0]) for picture in dataset.pictures]


def test_all_classes_go_by_order(tmp_path: Path) -> None:
    """As ImageNet's own labels do."""
    assert labels(folders(tmp_path, *IDS)) == [0, 1, 2]


@pytest.mark.parametrize("place", ["", ".."])
def test_some_classes_are_told_by_a_file(tmp_path: Path, place: str) -> None:
    """In the folder, or beside it."""
    root = folders(tmp_path / "val", IDS[2], IDS[0])
    (root / place / INDEX_FILE).write_text(json.dumps(INDEX))

    assert labels(root) == [0, 2]


def test_a_table_is_told_so_too(tmp_path: Path) -> None:
    """By the file beside it."""
    write(tmp_path / "a.png")
    (tmp_path / "val.csv").write_text(f"a.png,{IDS[1]}\n")
    (tmp_path / INDEX_FILE).write_text(json.dumps(INDEX))

    assert labels(tmp_path / "val.csv") == [1]


def test_names_come_first(tmp_path: Path) -> None:
    """A model may have been trained on such names."""
    assert labels(folders(tmp_path, *IDS[1:]), names=IDS) == [1, 2]


def test_some_classes_without_the_file_are_refused(tmp_path: Path) -> None:
    """With what is missing."""
    with pytest.raises(EdgeError, match=rf"2 of WordNet's ids.*3 classes.*put {INDEX_FILE}"):
        labels(folders(tmp_path, *IDS[:2]))


def test_an_id_that_the_file_does_not_know_is_refused(tmp_path: Path) -> None:
    """As any class that the model has not."""
    root = folders(tmp_path, IDS[0], "n99999999")
    (root / INDEX_FILE).write_text(json.dumps(INDEX))

    with pytest.raises(EdgeError, match=r"'n99999999' in .* is not one of the model's"):
        labels(root)


@pytest.mark.parametrize(
    "content",
    [{"0": "n01440764"}, {"0": []}, {"-1": ["n01440764"]}, {"3": ["n01440764"]}, {"a": [1]}],
)
def test_another_file_of_that_name_is_refused(tmp_path: Path, content: object) -> None:
    """One line that says what an entry looks like."""
    root = folders(tmp_path, IDS[0])
    (root / INDEX_FILE).write_text(json.dumps(content))

    with pytest.raises(EdgeError, match="an entry is a class and its WordNet id"):
        labels(root)


def test_other_words_are_matched_by_name(tmp_path: Path) -> None:
    """And refused where the model has no such class."""
    with pytest.raises(EdgeError, match="class 'cat'"):
        labels(folders(tmp_path, "cat", "dog", "owl"))
