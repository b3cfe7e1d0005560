"""Ultralytics' data.yaml: read where it points, by Ultralytics' rules."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime_bench.data.dataset import read_dataset
from runtime_bench.data.yolo_yaml import label_path
from runtime_bench.errors import EdgeError

YAML = "path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n"


@pytest.fixture
def yolo_folder(tmp_path: Path) -> Path:
    """A data set of three pictures: two boxes, a polygon, and one without a label file."""
    for name in ("a.jpg", "deep/b.png", "c.png"):
        path = tmp_path / "images" / "val" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100)).save(path)
    (tmp_path / "images" / "train").mkdir()
    labels = tmp_path / "labels" / "val"
    (labels / "deep").mkdir(parents=True)
    (labels / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.1 0.1\n")
    (labels / "deep" / "b.txt").write_text("0 0.1 0.2 0.3 0.2 0.3 0.8 0.2 0.9\n")
    (tmp_path / "data.yaml").write_text(YAML)
    return tmp_path


def write_yaml(folder: Path, text: str) -> Path:
    """Replace the data.yaml."""
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


def test_boxes_polygons_and_background(yolo_folder: Path) -> None:
    """Normalised centres become pixels, an outline its box, a missing file background."""
    dataset = read_dataset(yolo_folder / "data.yaml")

    assert [p.name for p in dataset.pictures] == [
        "images/val/a.jpg",
        "images/val/c.png",
        "images/val/deep/b.png",
    ]
    first, background, outline = dataset.pictures
    np.testing.assert_allclose(first.boxes, [[80, 30, 120, 70], [10, 5, 30, 15]], rtol=1e-6)
    assert first.labels.tolist() == [1, 0]
    assert background.boxes.shape == (0, 4)
    np.testing.assert_allclose(outline.boxes, [[20, 20, 60, 90]], rtol=1e-6)
    assert first.size == (100, 200)
    assert dataset.names == ("cat", "dog")
    assert dataset.labelled


def test_a_set_without_any_label_file_is_unlabelled(yolo_folder: Path) -> None:
    """Pictures alone are not a set of backgrounds."""
    (yolo_folder / "labels").rename(yolo_folder / "elsewhere")

    assert not read_dataset(yolo_folder / "data.yaml").labelled


@pytest.mark.parametrize(
    "text",
    [
        "val: images/val\nnames: {0: cat, 1: dog}\nnc: 2\n",
        "path: ''\nval: [images/val/deep, images/val]\nnames: [cat, dog]\n",
        "val: list.txt\nnames: [cat, dog]\n",
        "val: ../images/val\nnames: [cat, dog]\n",
        "path: {absolute}\nval: images/val\nnames: [cat, dog]\n",
    ],
    ids=["names by number", "list of folders", "list of files", "one folder up", "absolute"],
)
def test_other_ways_to_say_the_same(yolo_folder: Path, text: str) -> None:
    """Lists, .txt files, absolute paths and Roboflow's '../' lead to the same pictures."""
    (yolo_folder / "list.txt").write_text(
        "./images/val/a.jpg\nimages/val/c.png\n\nimages/val/deep/b.png\n"
    )
    source = write_yaml(yolo_folder, text.replace("{absolute}", str(yolo_folder)))

    dataset = read_dataset(source)

    assert sorted(p.path.name for p in dataset.pictures) == ["a.jpg", "b.png", "c.png"]
    assert sum(len(p.boxes) for p in dataset.pictures) == 3


def test_a_relative_yaml_path_works(yolo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the yaml counts, not the current one."""
    monkeypatch.chdir(yolo_folder.parent)

    dataset = read_dataset(Path(yolo_folder.name) / "data.yaml")

    assert len(dataset.pictures) == 3


@pytest.mark.parametrize(
    "download", ["https://example.invalid/x.zip", "bash touch ran", "open('ran', 'w')"]
)
def test_a_download_entry_is_never_run(
    yolo_folder: Path, download: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ultralytics would fetch or run is not looked at."""
    monkeypatch.chdir(yolo_folder)
    source = write_yaml(yolo_folder, f'{YAML}download: "{download}"\n')

    assert len(read_dataset(source).pictures) == 3
    assert not (yolo_folder / "ran").exists()


def test_a_yaml_that_would_run_code_is_refused(
    yolo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python tag is an error, and is not run."""
    monkeypatch.chdir(yolo_folder)
    source = write_yaml(yolo_folder, f"{YAML}x: !!python/object/apply:os.mkdir [ran]\n")

    with pytest.raises(EdgeError, match="not valid YAML in line 5"):
        read_dataset(source)
    assert not (yolo_folder / "ran").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a data.yaml"),
        ("- a\n", "not a data.yaml"),
        ("a: [\n", "not valid YAML in line 2"),
        ("a: !!int ''\n", "not valid YAML"),
        ("a: 2020-99-99\n", "not valid YAML"),
        ("a: " + "[" * 2000, "not valid YAML"),
        ("val: images/val\n", "'names' must list the classes"),
        ("val: images/val\nnames: 3\n", "'names' must list the classes"),
        ("val: images/val\nnames: [cat, no]\n", "put it in quotes"),
        ("val: images/val\nnames: [cat, cat]\n", "'cat' stands there twice"),
        ("val: images/val\nnames: {1: cat, 2: dog}\n", "must be 0, 1, 2"),
        ("val: images/val\nnames: {false: cat, true: dog}\n", "must be 0, 1, 2"),
        ("val: images/val\nnames: [cat, dog]\nnc: 3\n", "nc is 3, but 'names' has 2"),
        ("train: images/train\nnames: [cat, dog]\n", r"no usable 'val' \(there are: train\)"),
        ("val: 3\nnames: [cat, dog]\n", "no usable 'val'"),
        ("val: images/test\nnames: [cat, dog]\n", "which is not there"),
        ("val: data.yaml\nnames: [cat, dog]\n", "neither a folder nor a .txt list"),
        ("val: images/train\nnames: [cat, dog]\n", "no picture in its 'val'"),
        ("path: [a]\nval: images/val\nnames: [cat, dog]\n", "'path' must be a folder"),
        ("kpt_shape: [17, 3]\nval: images/val\nnames: [cat, dog]\n", "key points"),
    ],
)
def test_a_bad_yaml_is_one_line(yolo_folder: Path, text: str, message: str) -> None:
    """Each error names the yaml and what is wrong, and skip_bad does not hide it."""
    source = write_yaml(yolo_folder, text)

    with pytest.raises(EdgeError, match=message) as caught:
        read_dataset(source, skip_bad=True)

    assert str(caught.value).startswith(str(source))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "an unknown class, 2; there are 2"),
        ("-1 0.5 0.5 0.1 0.1", "an unknown class, -1"),
        ("0.5 0.5 0.5 0.1 0.1", "is no whole number"),
        ("nan 0.5 0.5 0.1 0.1", "is no whole number"),
        ("0 0.5 nan 0.1 0.1", "not finite"),
        ("0 0.5 0.5 0.1", "4 numbers, where a box has 5"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 numbers, where a box has 5"),
        ("cat 0.5 0.5 0.1 0.1", "not numbers"),
        ("0 0.5 0.5 0 0.1", "without area"),
        ("0 0.99 0.5 0.1 0.1", "outside the picture"),
        ("0 120 50 20 20", "outside the picture"),
    ],
)
def test_a_bad_label_is_an_error_or_one_skip(
    yolo_folder: Path, line: str, message: str
) -> None:
    """The error names the label file and the line; with skip_bad the others are read."""
    file = yolo_folder / "labels" / "val" / "a.txt"
    file.write_text(f"1 0.5 0.5 0.2 0.4\n{line}\n")

    with pytest.raises(EdgeError, match=message) as caught:
        read_dataset(yolo_folder / "data.yaml")
    dataset = read_dataset(yolo_folder / "data.yaml", skip_bad=True)

    assert "a.txt" in str(caught.value)
    assert "(line 2)" in str(caught.value)
    assert len(dataset.skipped) == 1
    assert dataset.pictures[0].labels.tolist() == [1]


def test_a_picture_of_the_list_that_is_missing_is_named(yolo_folder: Path) -> None:
    """A .txt list that outlived its pictures is a fault of that picture."""
    (yolo_folder / "list.txt").write_text("images/val/a.jpg\nimages/val/gone.jpg\nnotes.md\n")
    source = write_yaml(yolo_folder, "val: list.txt\nnames: [cat, dog]\n")

    with pytest.raises(EdgeError, match=r"list\.txt: 'notes\.md' is not a picture by its name"):
        read_dataset(source)
    dataset = read_dataset(source, skip_bad=True)

    assert [p.name for p in dataset.pictures] == ["images/val/a.jpg"]
    assert "gone.jpg: no such picture" in dataset.skipped[1]


@pytest.mark.parametrize(
    "picture",
    [
        "/data/images/val/a.jpg",
        "/data/images/images/a.b.jpg",
        "/images/data/images/val/deep/x.jpeg",
        "/data/pictures/a.jpg",
        "/data/myimages/a.jpg",
    ],
)
def test_label_files_lie_where_ultralytics_looks(picture: str) -> None:
    """The rule is Ultralytics' own, also for paths with several `images` in them."""
    ours = label_path(Path(picture))

    head, found, tail = picture.rpartition(f"{os.sep}images{os.sep}")
    expected = f"{head}{os.sep}labels{os.sep}{tail}" if found else picture
    assert str(ours) == expected.rsplit(".", 1)[0] + ".txt"


@pytest.mark.needs_torch
@pytest.mark.slow
def test_the_rule_is_that_of_ultralytics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ultralytics' own function answers with the same paths."""
    # Importing it replaces Pillow's `open` for the whole process; this undoes it.
    monkeypatch.setattr(Image, "open", Image.open)
    utils = pytest.importorskip("ultralytics.data.utils")
    pictures = ["/data/images/val/a.jpg", "/data/images/images/a.b.jpg", "/data/x/a.jpg"]

    assert [str(label_path(Path(p))) for p in pictures] == utils.img2label_paths(pictures)
