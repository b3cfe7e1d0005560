"""COCO's JSON: read as pycocotools reads it, and nothing in it is believed."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from runtime_bench.data.dataset import Dataset, read_dataset
from runtime_bench.errors import EdgeError

Content = dict[str, Any]

CONTENT: Content = {
    "images": [
        {"id": 70, "file_name": "a.png", "height": 40, "width": 60},
        {"id": 5, "file_name": "sub/b.png", "height": 30, "width": 20},
    ],
    "categories": [
        {"id": 90, "name": "toothbrush"},
        {"id": 1, "name": "person"},
        {"id": 13, "name": "stop sign"},
    ],
    "annotations": [
        {"id": 3, "image_id": 70, "category_id": 90, "bbox": [1.5, 2, 10, 20], "iscrowd": 0},
        {"id": 9, "image_id": 70, "category_id": 13, "bbox": [0, 0, 60, 40], "iscrowd": 1},
    ],
}


@pytest.fixture(scope="session")
def coco_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures of `CONTENT` in images/."""
    folder = tmp_path_factory.mktemp("coco")
    (folder / "images" / "sub").mkdir(parents=True)
    Image.new("RGB", (60, 40)).save(folder / "images" / "a.png")
    Image.new("RGB", (20, 30)).save(folder / "images" / "sub" / "b.png")
    return folder


def read(folder: Path, content: object, *, skip_bad: bool = False) -> Dataset:
    """Write `content` as JSON into `folder` and read it as a data set."""
    source = folder / "instances.json"
    source.write_text(json.dumps(content))
    return read_dataset(source, skip_bad=skip_bad)


def changed(change: Callable[[Content], object]) -> Content:
    """Return a copy of `CONTENT` with one thing changed."""
    content = copy.deepcopy(CONTENT)
    change(content)
    return content


def test_ids_with_gaps_become_labels_in_their_order(coco_folder: Path) -> None:
    """Category ids 1, 13, 90 are labels 0, 1, 2, whatever the order in the file."""
    dataset = read(coco_folder, CONTENT)

    assert dataset.names == ("person", "stop sign", "toothbrush")
    first = dataset.pictures[0]
    assert first.labels.tolist() == [2, 1]
    assert first.crowd.tolist() == [False, True]
    np.testing.assert_array_equal(
        first.boxes, np.array([[1.5, 2, 11.5, 22], [0, 0, 60, 40]], np.float32)
    )
    assert dataset.labelled


def test_a_picture_without_annotations_stays(coco_folder: Path) -> None:
    """Background pictures are part of the set, with (0, 4) boxes."""
    second = read(coco_folder, CONTENT).pictures[1]

    assert (second.name, second.size) == ("sub/b.png", (30, 20))
    assert second.boxes.shape == (0, 4)


def test_a_file_without_annotations_is_unlabelled(coco_folder: Path) -> None:
    """COCO's own test sets list pictures only."""
    dataset = read(coco_folder, {"images": CONTENT["images"]})

    assert not dataset.labelled
    assert len(dataset.pictures) == 2


def test_polygons_serve_where_there_is_no_box(coco_folder: Path) -> None:
    """A segmentation without bbox gives the box around all its polygons."""
    polygons = [[1, 2, 5, 2, 5, 9], [3, 4, 8, 4, 8, 6]]
    content = changed(
        lambda c: c["annotations"][0].update(bbox=None, segmentation=polygons),
    )

    assert read(coco_folder, content).pictures[0].boxes[0].tolist() == [1, 2, 8, 9]


def test_pictures_are_found_beside_the_folder_of_the_json(coco_folder: Path) -> None:
    """annotations/x.json finds its pictures in ../images."""
    folder = coco_folder / "annotations"
    folder.mkdir(exist_ok=True)

    assert len(read(folder, CONTENT).pictures) == 2


def test_pictures_that_are_nowhere_are_an_error(tmp_path: Path) -> None:
    """The error names the places that were looked at, and the option."""
    with pytest.raises(EdgeError, match="--images-dir") as caught:
        read(tmp_path, CONTENT)

    assert str(tmp_path / "images") in str(caught.value)


BAD_ENTRIES: list[tuple[str, Callable[[Content], object], str]] = [
    ("missing", lambda c: c["images"][0].update(file_name="gone.png"), "no such picture"),
    ("long name", lambda c: c["images"][0].update(file_name="x" * 5000), "no such picture"),
    ("zero byte", lambda c: c["images"][0].update(file_name="a\0b.png"), "no such picture"),
    ("parent", lambda c: c["images"][0].update(file_name="../../x.png"), "leads out"),
    ("absolute", lambda c: c["images"][0].update(file_name="/etc/hostname"), "leads out"),
    ("the folder", lambda c: c["images"][0].update(file_name="."), "no such picture"),
    ("no name", lambda c: c["images"][0].update(file_name=7), "'file_name'"),
    ("id is text", lambda c: c["images"][0].update(id="70"), "whole number 'id'"),
    ("id is true", lambda c: c["images"][0].update(id=True), "whole number 'id'"),
    ("id twice", lambda c: c["images"][0].update(id=5), "the id 5 is that of another"),
    ("name twice", lambda c: c["images"][1].update(file_name="a.png"), "a second time"),
    ("no height", lambda c: c["images"][0].pop("height"), "whole numbers of pixels"),
    ("height 0", lambda c: c["images"][0].update(height=0), "a size that cannot be"),
    ("outside", lambda c: c["annotations"][0].update(bbox=[55, 2, 10, 9]), "outside"),
    ("no area", lambda c: c["annotations"][0].update(bbox=[5, 2, 0, 9]), "without area"),
    ("negative", lambda c: c["annotations"][0].update(bbox=[5, 2, -4, 9]), "without area"),
    ("three", lambda c: c["annotations"][0].update(bbox=[5, 2, 9]), "four finite numbers"),
    ("text", lambda c: c["annotations"][0].update(bbox="5 2 9 9"), "four finite numbers"),
    ("bool", lambda c: c["annotations"][0].update(bbox=[True, 2, 9, 9]), "four finite"),
    ("huge", lambda c: c["annotations"][0].update(bbox=[10**400, 2, 9, 9]), "four finite"),
    ("no box", lambda c: c["annotations"][0].pop("bbox"), "four finite numbers"),
    ("category", lambda c: c["annotations"][0].update(category_id=2), "unknown category, 2"),
    ("list", lambda c: c["annotations"][0].update(category_id=[]), "unknown category"),
    ("image", lambda c: c["annotations"][0].update(image_id=6), "not listed, 6"),
    ("same id", lambda c: c["annotations"][0].update(id=9), "id 9 is that of another"),
    ("id type", lambda c: c["annotations"][0].update(id="x"), "is not a whole number"),
    ("crowd", lambda c: c["annotations"][0].update(iscrowd="no"), "'iscrowd' is no"),
]


@pytest.mark.parametrize(
    ("change", "message"), [case[1:] for case in BAD_ENTRIES], ids=[c[0] for c in BAD_ENTRIES]
)
def test_a_bad_entry_is_an_error_or_one_skip(
    coco_folder: Path, change: Callable[[Content], object], message: str
) -> None:
    """Each fault is one line; with skip_bad the rest is read and the fault is listed."""
    content = changed(change)

    with pytest.raises(EdgeError, match=message) as caught:
        read(coco_folder, content)
    dataset = read(coco_folder, content, skip_bad=True)

    assert str(caught.value).isprintable()
    assert "--skip-bad" in str(caught.value)
    assert message in dataset.skipped[0]
    assert dataset.pictures


def test_infinity_is_not_a_coordinate(coco_folder: Path) -> None:
    """1e999 is valid JSON and infinite; it is a fault."""
    text = json.dumps(CONTENT).replace("1.5", "1e999")
    (coco_folder / "infinite.json").write_text(text)

    with pytest.raises(EdgeError, match="four finite numbers"):
        read_dataset(coco_folder / "infinite.json")


def test_one_pixel_beyond_the_edge_is_let_pass(coco_folder: Path) -> None:
    """Tools that count pixels from 1 put boxes one pixel outside."""
    content = changed(lambda c: c["annotations"][0].update(bbox=[-1, 2, 62, 9]))

    assert read(coco_folder, content).pictures[0].boxes[0].tolist() == [-1, 2, 61, 11]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "not a COCO JSON, which is an object"),
        ({}, "no list called 'images'"),
        ({"images": {}}, "no list called 'images'"),
        ({"images": []}, "no picture in this data set"),
        ({"images": [3]}, r"images\[0\] is not an object"),
        (changed(lambda c: c.update(annotations=[None])), r"annotations\[0\] is not an object"),
        (changed(lambda c: c.pop("categories")), "no list called 'categories'"),
        (changed(lambda c: c["categories"][0].update(id=1)), "the id 1 a second time"),
        (changed(lambda c: c["categories"][0].update(name="person")), "'person' a second time"),
        (changed(lambda c: c["categories"][0].update(name=None)), "a text 'name'"),
    ],
)
def test_a_file_that_is_not_cocos_is_an_error(
    coco_folder: Path, content: object, message: str
) -> None:
    """Where the structure is broken nothing can be skipped."""
    with pytest.raises(EdgeError, match=message) as caught:
        read(coco_folder, content, skip_bad=True)

    assert "instances.json" in str(caught.value)


def test_broken_json_names_the_file(coco_folder: Path) -> None:
    """A file that was cut off is an error with its name."""
    (coco_folder / "cut.json").write_text('{"images": [')

    with pytest.raises(EdgeError, match=r"cut\.json"):
        read_dataset(coco_folder / "cut.json")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["a.png", "..", "/", "\n", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
PLACES = st.sampled_from(
    [
        (table, key)
        for table, entries in CONTENT.items()
        for key in sorted({key for entry in entries for key in entry})
    ]
)


@given(place=PLACES, value=VALUES)
def test_wrong_types_anywhere_never_crash(
    coco_folder: Path, place: tuple[str, str], value: object
) -> None:
    """Whatever stands in a field, the answer is a data set or an EdgeError of one line."""
    table, key = place
    content = changed(lambda c: c[table][0].update({key: value}))

    try:
        dataset = read(coco_folder, content)
    except EdgeError as error:
        assert str(error).isprintable()  # noqa: PT017 (both answers are good ones)
    else:
        assert all(np.isfinite(picture.boxes).all() for picture in dataset.pictures)


def test_real_boxes_are_those_of_pycocotools(data_folder: Path) -> None:
    """Boxes and classes of all pictures equal what pycocotools reads from the same file."""
    source = data_folder / "coco_val" / "instances.json"
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(source)
    dataset = read_dataset(source)

    for picture in dataset.pictures:
        image = next(i for i in coco.dataset["images"] if i["file_name"] == picture.name)
        expected = coco.imgToAnns[image["id"]]
        names = [coco.cats[annotation["category_id"]]["name"] for annotation in expected]
        assert [dataset.names[label] for label in picture.labels] == names
        xywh = np.array([a["bbox"] for a in expected], np.float64).reshape(-1, 4)
        xywh[:, 2:] += xywh[:, :2]
        np.testing.assert_allclose(picture.boxes, xywh, rtol=1e-6, atol=1e-4)
        assert picture.crowd.tolist() == [bool(a["iscrowd"]) for a in expected]
