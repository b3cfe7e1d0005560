"""Pictures with one class each: folders for classes, and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime_bench.data.dataset import match_classes, read_dataset
from runtime_bench.errors import EdgeError

FILES = ("cat/a.png", "cat/more/b.png", "dog/a.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes with three pictures, 20 x 10 px."""
    for name in FILES:
        write(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def write(path: Path) -> None:
    """Write a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(path)


def test_a_folder_for_each_class(folder: Path) -> None:
    """Names are those of the folders; what lies deeper belongs to the class as well."""
    dataset = read_dataset(folder)

    assert (dataset.task, dataset.labelled, dataset.names) == ("classify", True, ("cat", "dog"))
    assert tuple(picture.name for picture in dataset.pictures) == FILES
    assert [picture.labels.tolist() for picture in dataset.pictures] == [[0], [0], [1]]
    np.testing.assert_array_equal(dataset.pictures[0].boxes, [[0, 0, 20, 10]])
    assert dataset.pictures[0].size == (10, 20)


def test_a_split_has_its_folders(folder: Path) -> None:
    """As data sets for training lie: train/ and val/ with the classes in each."""
    for name in ("train/cat/1.png", "val/cat/2.png", "val/owl/3.png"):
        write(folder / "set" / name)

    assert len(read_dataset(folder / "set").pictures) == 2
    assert read_dataset(folder / "set", split="train").names == ("cat",)


def test_pictures_beside_folders_have_no_class(folder: Path) -> None:
    """Then it is a folder of pictures like any other."""
    write(folder / "c.png")

    dataset = read_dataset(folder)

    assert (dataset.labelled, [one.name for one in dataset.pictures]) == (False, ["c.png"])


@pytest.mark.parametrize("heading", [True, False])
@pytest.mark.parametrize(("suffix", "mark"), [(".csv", ","), (".tsv", "\t")])
def test_a_table_of_pictures(folder: Path, heading: bool, suffix: str, mark: str) -> None:
    """Classes come in the order of their names, empty lines and a heading are passed over."""
    lines = ["file,class"] if heading else []
    lines += ["dog/a.png,dog", "", "cat/a.png, cat "]
    table = folder / f"labels{suffix}"
    table.write_text("\n".join(lines).replace(",", mark), encoding="utf-8-sig")

    dataset = read_dataset(table)

    assert dataset.names == ("cat", "dog")
    assert [(one.name, int(one.labels[0])) for one in dataset.pictures] == [
        ("dog/a.png", 1),
        ("cat/a.png", 0),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"cat/a.png\n", "line 1: a row has a picture and its class"),
        (b"cat/a.png,\n", "line 1: a row has a picture and its class"),
        (b"cat/a.png,cat\ncat/a.png,dog\n", "it is listed twice"),
        (b"cat/none.png,cat\n", "no such picture"),
        (b"\xff\xfe,cat\n", "cannot be read as a table"),
        (b'"cat/a.png,cat', "a row has a picture and its class"),
        (b"", "no picture in this data set"),
    ],
)
def test_a_bad_table_is_one_line(folder: Path, content: bytes, words: str) -> None:
    """With the file, and what is wrong."""
    (folder / "labels.csv").write_bytes(content)

    with pytest.raises(EdgeError, match=words) as caught:
        read_dataset(folder / "labels.csv")

    assert "\n" not in str(caught.value)


def test_faults_can_be_left_out(folder: Path) -> None:
    """Each is listed."""
    (folder / "labels.csv").write_text("cat/a.png,cat\ncat/none.png,cat\n")

    dataset = read_dataset(folder / "labels.csv", skip_bad=True)

    assert (len(dataset.pictures), len(dataset.skipped)) == (1, 1)


def test_a_path_out_of_the_folder_is_refused(folder: Path) -> None:
    """Pictures lie beside the table, or deeper."""
    write(folder.parent / "other.png")
    (folder / "labels.csv").write_text(f"../other.png,cat\n{folder.parent}/other.png,cat\n")

    with pytest.raises(EdgeError, match="lies outside"):
        read_dataset(folder / "labels.csv")


def test_labels_are_for_one_task(folder: Path) -> None:
    """Neither is taken for the other."""
    dataset = read_dataset(folder)

    assert match_classes(dataset, ("dog", "cat"), task="classify").pictures[0].labels == [1]
    with pytest.raises(EdgeError, match="its labels are classes of whole pictures"):
        match_classes(dataset, dataset.names)
