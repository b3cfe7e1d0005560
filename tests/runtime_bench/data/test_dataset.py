"""Data sets: what people have is read as it is, and every fault is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime_bench.data.dataset import (
    Dataset,
    Picture,
    match_classes,
    read_dataset,
    verify_pictures,
)
from runtime_bench.errors import EdgeError


def save_picture(path: Path, size: tuple[int, int] = (40, 60)) -> Path:
    """Save a grey noisy picture of (height, width) pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def one_picture(path: Path, *, size: tuple[int, int] = (40, 60)) -> Dataset:
    """Return a data set of one picture with a box of class 'b'."""
    box = np.array([[1, 2, 30, 20]], dtype=np.float32)
    picture = Picture(path.name, path, size, box, np.array([1]), np.array([False]))
    return Dataset("made-up", ("a", "b"), (picture,), True)


def test_a_folder_of_pictures_has_no_labels(tmp_path: Path) -> None:
    """Pictures come sorted by name, without boxes; other and hidden files are no pictures."""
    save_picture(tmp_path / "b.jpg")
    save_picture(tmp_path / "a.PNG", (30, 20))
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.jpg").write_bytes(b"x")

    dataset = read_dataset(tmp_path)

    assert [(p.name, p.size, len(p.boxes)) for p in dataset.pictures] == [
        ("a.PNG", (30, 20), 0),
        ("b.jpg", (40, 60), 0),
    ]
    assert not dataset.labelled
    assert dataset.names == ()


def test_the_exif_orientation_counts(tmp_path: Path) -> None:
    """A picture that is stored lying has the size that a person sees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)

    assert read_dataset(tmp_path).pictures[0].size == (60, 40)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.json", "no such file or folder"),
        (lambda folder: save_picture(folder / "a.jpg"), "not a data set by its name"),
        (lambda folder: folder, r"no picture lies directly in this folder \(0 other files"),
    ],
)
def test_a_source_that_is_none_is_an_error(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    """A missing path, a wrong extension and an empty folder each say so."""
    source = make(tmp_path)

    with pytest.raises(EdgeError, match=message) as caught:
        read_dataset(source)

    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_picture_is_an_error_or_skipped(tmp_path: Path) -> None:
    """A file called .jpg that holds text is named; with skip_bad it is listed."""
    save_picture(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_text("not a picture")

    with pytest.raises(EdgeError, match=r"b\.jpg: is no picture.*--skip-bad"):
        read_dataset(tmp_path)
    dataset = read_dataset(tmp_path, skip_bad=True)

    assert [picture.name for picture in dataset.pictures] == ["a.jpg"]
    assert len(dataset.skipped) == 1
    assert dataset.skipped[0].startswith(f"{tmp_path / 'b.jpg'}: is no picture")


def test_a_folder_where_all_is_skipped_is_an_error(tmp_path: Path) -> None:
    """Nothing left is never a data set."""
    (tmp_path / "b.jpg").write_text("not a picture")

    with pytest.raises(EdgeError, match=r"no picture in this data set \(1 were skipped\)"):
        read_dataset(tmp_path, skip_bad=True)


def test_images_dir_goes_with_coco_only(tmp_path: Path) -> None:
    """An option that would be without effect is refused."""
    with pytest.raises(EdgeError, match="--images-dir goes with a COCO JSON only"):
        read_dataset(save_picture(tmp_path / "a.jpg").parent, images_dir=tmp_path)


def test_a_truncated_picture_is_found_by_decoding(tmp_path: Path) -> None:
    """Half a JPEG has a good header; verifying names the file."""
    path = save_picture(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-800])

    with pytest.raises(EdgeError, match=r"a\.jpg.*--skip-bad"):
        verify_pictures(one_picture(path), progress=False)


def test_a_size_that_differs_is_found(tmp_path: Path) -> None:
    """A picture that was resized after it was labelled is a fault that names both sizes."""
    dataset = one_picture(save_picture(tmp_path / "a.png"), size=(41, 60))

    with pytest.raises(EdgeError, match="is 60 x 40 px, the data set says 60 x 41 px"):
        verify_pictures(dataset, progress=False)


def test_verifying_skips_and_lists(tmp_path: Path) -> None:
    """With skip_bad the good pictures stay, and earlier skips are kept."""
    good = one_picture(save_picture(tmp_path / "a.png")).pictures[0]
    bad = one_picture(save_picture(tmp_path / "b.png"), size=(1, 1)).pictures[0]
    dataset = Dataset("made-up", ("a", "b"), (good, bad), True, ("c.png: earlier",))

    verified = verify_pictures(dataset, skip_bad=True, progress=False)

    assert verified.pictures == (good,)
    assert verified.skipped[0] == "c.png: earlier"
    assert "b.png: the picture is 60 x 40 px" in verified.skipped[1]


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    """Labels index the model's names, whatever their order there."""
    dataset = one_picture(tmp_path / "a.png")

    matched = match_classes(dataset, ("x", "b", "y", "a"))

    assert matched.names == ("x", "b", "y", "a")
    assert matched.pictures[0].labels.tolist() == [1]
    assert match_classes(matched, ("b",)).pictures[0].labels.tolist() == [0]


def test_a_class_that_the_model_lacks_is_an_error(tmp_path: Path) -> None:
    """The error names the class; a class without a box may be missing."""
    dataset = one_picture(tmp_path / "a.png")

    with pytest.raises(EdgeError, match=r"class 'b' in a\.png is not one of the model's, a"):
        match_classes(dataset, ("a",))
    assert match_classes(dataset, ("b",)).pictures[0].labels.tolist() == [0]


@pytest.mark.parametrize(
    ("json_file", "images", "pictures", "boxes", "classes"),
    [
        ("coco_val/instances.json", None, 200, 1731, 80),
        ("coco_pool/instances.json", None, 1000, 9660, 80),
        ("bccd/annotations/test.json", "bccd/images", 72, 945, 3),
        ("bccd/annotations/test.json", None, 72, 945, 3),
    ],
)
def test_real_data_is_read(
    data_folder: Path,
    json_file: str,
    images: str | None,
    pictures: int,
    boxes: int,
    classes: int,
) -> None:
    """Real sets are read in full, with no fault."""
    images_dir = data_folder / images if images else None
    dataset = read_dataset(data_folder / json_file, images_dir=images_dir)

    assert len(dataset.pictures) == pictures
    assert sum(len(picture.boxes) for picture in dataset.pictures) == boxes
    assert len(dataset.names) == classes
    assert dataset.skipped == ()
