"""Which pictures serve for what: disjoint, by seed, matched by name, refused in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from runtime_bench.errors import EdgeError
from xprune.builtin.scenes import CLASS_NAMES
from xprune.data.sets import (
    PictureRequest,
    PictureSets,
    class_names,
    read_labelled,
    split_and_match,
)

MODEL = ("cat", "dog", "fox", "owl")


def request(data: object, **options: object) -> PictureRequest:
    """A request for 3 calibration pictures, with changes."""
    values = {
        "images_dir": None,
        "calibration": None,
        "test_count": None,
        "calibration_count": 3,
        "seed": 0,
        "skip_bad": False,
        **options,
    }
    return PictureRequest(data=str(data), **values)


def read(
    asked: PictureRequest, names: tuple[str, ...] = MODEL, scenes: Path | None = None
) -> PictureSets:
    """Read, split and match in one go."""
    scenes = scenes or Path("unused")
    return split_and_match(asked, read_labelled(asked, scenes=scenes), names, scenes=scenes)


def names(sets: PictureSets) -> tuple[list[str], list[str]]:
    """The names of the test pictures and of the calibration pictures."""
    return [p.name for p in sets.test.pictures], [p.name for p in sets.calibration.pictures]


def test_one_data_set_is_split_without_overlap(make):
    """Three calibrate, the rest tests, none is lost."""
    path = make.coco("all", 10)

    test, calibration = names(read(request(path)))

    assert len(calibration) == 3
    assert not set(test) & set(calibration)
    assert sorted(test + calibration) == sorted(f"all_{index}.png" for index in range(10))


def test_the_split_is_that_of_the_seed(make):
    """The same seed the same split, another seed another; neither is just the first ones."""
    path = make.coco("all", 12)

    first, again, other = (names(read(request(path, seed=seed))) for seed in (0, 0, 1))

    assert first == again != other
    assert first[1] != [f"all_{index}.png" for index in range(3)]


def test_as_many_test_as_are_asked_for(make):
    """And the calibration pictures do not depend on how many those are."""
    path = make.coco("all", 12)

    few, all_left = (read(request(path, test_count=count)) for count in (4, None))

    assert len(few.test.pictures) == 4
    assert len(all_left.test.pictures) == 9
    assert names(few)[1] == names(all_left)[1]


def test_too_few_pictures_are_an_error(make):
    """It says how many there are and how many are needed."""
    path = make.coco("all", 5)

    with pytest.raises(EdgeError, match="has 5 pictures; 6 are needed"):
        read(request(path, test_count=3))
    with pytest.raises(EdgeError, match="--calibration-images asks for 3"):
        read(request(path, calibration=str(make.unlabelled("pool", 2))))
    with pytest.raises(EdgeError, match="--images asks for 9"):
        read(request(path, test_count=9, calibration=str(make.unlabelled("more", 4))))


def test_calibration_of_its_own_leaves_all_of_the_data_for_the_test(make):
    """An unlabelled folder serves; the calibration has no labels then."""
    sets = read(request(make.coco("val", 4), calibration=str(make.unlabelled("pool", 6))))

    assert len(sets.test.pictures) == 4
    assert len(sets.calibration.pictures) == 3
    assert sets.test.labelled
    assert not sets.calibration.labelled


@pytest.mark.parametrize("how", ["same file", "link", "copy under another name"])
def test_a_picture_on_both_sides_is_refused(make, how):
    """By its path or by its content, and the error names it."""
    path, pool = make.coco("val", 4), make.unlabelled("pool", 6)
    picture = path.parent / "images" / "val_2.png"
    if how == "link":
        (pool / "linked.png").symlink_to(picture)
    elif how == "copy under another name":
        shutil.copy(picture, pool / "copied.png")
    calibration = path if how == "same file" else pool

    with pytest.raises(EdgeError, match=r"pictures \(\S+\.png, …\) are both in --data and in"):
        read(request(path, calibration=str(calibration)))


def test_classes_are_matched_by_name(make):
    """Labels index the model's names, whatever their order in the data."""
    sets = read(
        request(make.coco("val", 2), calibration=str(make.coco("cal", 3, names=("dog", "cat"))))
    )

    assert sets.test.names == sets.calibration.names == MODEL
    for picture in sets.test.pictures:
        assert [MODEL[label] for label in picture.labels] == ["owl", "cat", "dog"]
    for picture in sets.calibration.pictures:
        assert [MODEL[label] for label in picture.labels] == ["dog", "cat"]


@pytest.mark.parametrize("side", ["test", "calibration"])
def test_a_class_that_the_model_lacks_is_an_error(make, side):
    """On either side, by name."""
    other = make.coco("other", 4, names=("cat", "lynx"))
    plain = make.coco("plain", 4)
    data, calibration = (other, plain) if side == "test" else (plain, other)

    with pytest.raises(EdgeError, match="class 'lynx'"):
        read(request(data, calibration=str(calibration)))


def test_pictures_without_labels_cannot_test(make):
    """The error says where they can go."""
    with pytest.raises(EdgeError, match="cannot test; give labelled --data"):
        read(request(make.unlabelled("pool", 4)))


def test_a_damaged_picture_stops_or_is_listed(make):
    """Only pictures that serve are looked into; with `skip_bad` each fault is listed once."""
    path = make.coco("all", 8)
    damaged = names(read(request(path)))[0][2]
    file = path.parent / "images" / damaged
    file.write_bytes(file.read_bytes()[:60])

    with pytest.raises(EdgeError, match=damaged):
        read(request(path))
    sets = read(request(path, skip_bad=True))

    assert damaged not in names(sets)[0]
    skipped = [*sets.test.skipped, *sets.calibration.skipped]
    assert len(skipped) == 1
    assert damaged in skipped[0]


def test_what_reading_skips_is_listed_once(make):
    """Though both parts of a split come from the same file."""
    path = make.coco("all", 8)
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [0, 0, 4000, 10]
    path.write_text(json.dumps(content))

    sets = read(request(path, skip_bad=True))

    assert len([*sets.test.skipped, *sets.calibration.skipped]) == 1


def test_pictures_may_lie_elsewhere(make, tmp_path):
    """`images_dir` holds for the data; the calibration finds its own."""
    path, pool = make.coco("val", 3), make.coco("cal", 3)
    (path.parent / "images").rename(tmp_path / "elsewhere")

    sets = read(request(path, images_dir=tmp_path / "elsewhere", calibration=str(pool)))

    assert {p.path.parent.name for p in sets.test.pictures} == {"elsewhere"}
    assert {p.path.parent for p in sets.calibration.pictures} == {pool.parent / "images"}


def test_builtin_scenes_come_in_two_kinds(tmp_path):
    """Test and calibration scenes are drawn from different seeds, and only once."""
    asked = request("builtin", test_count=5, calibration_count=4)

    sets = read(asked, CLASS_NAMES, tmp_path)
    written = {p.path: p.path.stat().st_mtime_ns for p in sets.test.pictures}
    again = read(asked, CLASS_NAMES, tmp_path)

    test, calibration = (
        {p.path.read_bytes() for p in part.pictures} for part in (sets.test, sets.calibration)
    )
    assert (len(test), len(calibration)) == (5, 4)
    assert not test & calibration
    assert sets.test.labelled
    assert sets.calibration.labelled
    assert {p.path: p.path.stat().st_mtime_ns for p in again.test.pictures} == written


def test_the_data_names_the_classes_of_a_new_detector(make):
    """Of the built-in scenes without reading anything."""
    path = make.coco("val", 2)

    assert class_names("builtin", lambda: pytest.fail("read")) == CLASS_NAMES
    unused = Path("unused")
    labelled = class_names(str(path), lambda: read_labelled(request(path), scenes=unused))
    assert labelled == ("owl", "cat", "dog")
