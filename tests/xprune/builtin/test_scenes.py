"""The built-in pictures: reproducible, well-formed COCO, boxes that fit what is drawn."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from xprune.builtin.scenes import CLASS_NAMES, DEMO_SMALLEST, draw_scene, write_scenes
from xprune.builtin.shapes import CLASSES, CLUTTER, Outline, Stamp, rasterize

SIZE = (120, 160)  # height, width
FINE = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty written scenes."""
    path = tmp_path_factory.mktemp("scenes")
    write_scenes(path, count=60, seed=7)
    return path


@pytest.fixture(scope="module")
def coco(folder: Path) -> COCO:
    """The same scenes as pycocotools reads them."""
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(folder / "instances.json"))


def test_a_scene_is_the_same_each_time():
    """Seed and index decide every pixel, box and label."""
    first, second = draw_scene(7, 3), draw_scene(7, 3)

    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a, b)


def test_seeds_and_indices_give_different_pictures():
    """Neither another seed nor another index repeats a picture."""
    pictures = {draw_scene(seed, index)[0].tobytes() for seed in range(4) for index in range(4)}

    assert len(pictures) == 16


def test_written_files_are_the_same_each_time(tmp_path: Path, folder: Path):
    """The same seed gives the same bytes, however many pictures are drawn."""
    write_scenes(tmp_path / "a", count=5, seed=7)
    write_scenes(tmp_path / "b", count=5, seed=7)

    document = (tmp_path / "a" / "instances.json").read_bytes()
    assert document == (tmp_path / "b" / "instances.json").read_bytes()
    for index in range(5):
        name = f"images/{index:06d}.jpg"
        assert (tmp_path / "a" / name).read_bytes() == (folder / name).read_bytes()


def test_pycocotools_reads_what_draw_scene_returns(folder: Path, coco: COCO):
    """The data set on disk holds the drawn pictures, boxes and labels."""
    for record in coco.loadImgs(coco.getImgIds())[:20]:
        picture, boxes, labels = draw_scene(7, record["id"] - 1, smallest=DEMO_SMALLEST)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=record["id"]))
        decoded = np.asarray(Image.open(folder / "images" / record["file_name"]))

        assert np.array_equal(decoded, picture)
        assert picture.shape == (record["height"], record["width"], 3)
        names = [coco.cats[a["category_id"]]["name"] for a in annotations]
        assert names == [CLASS_NAMES[label] for label in labels]
        written = np.array([a["bbox"] for a in annotations])
        assert np.array_equal(written[:, :2], boxes[:, :2])
        assert np.array_equal(written[:, 2:], boxes[:, 2:] - boxes[:, :2])
        assert all(a["area"] == a["bbox"][2] * a["bbox"][3] for a in annotations)


def test_boxes_lie_in_the_picture_and_are_not_degenerate(coco: COCO):
    """Every box has at least four pixels a side, none of them outside the picture."""
    for record in coco.loadImgs(coco.getImgIds()):
        boxes = np.array([a["bbox"] for a in coco.imgToAnns[record["id"]]])

        assert 1 <= len(boxes) <= 8
        assert boxes[:, :2].min() >= 0
        assert boxes[:, 2:].min() >= 4
        assert (boxes[:, 0] + boxes[:, 2]).max() <= record["width"]
        assert (boxes[:, 1] + boxes[:, 3]).max() <= record["height"]


def test_pictures_are_of_several_shapes(coco: COCO):
    """Portrait, landscape and square pictures occur, so that letterboxing is exercised."""
    records = coco.loadImgs(coco.getImgIds())

    assert {np.sign(r["height"] - r["width"]) for r in records} == {-1, 0, 1}


def test_classes_are_balanced():
    """No class is more than twice as frequent as another."""
    labels = np.concatenate([draw_scene(8, index)[2] for index in range(120)])

    counts = np.bincount(labels, minlength=len(CLASS_NAMES))
    assert counts.min() * 2 >= counts.max()


@pytest.mark.parametrize("name", [*CLASSES, *CLUTTER])
def test_boxes_are_as_tight_as_what_opencv_draws(name: str):
    """A shape alone on a blank picture fills its box to within a pixel, clipped or not."""
    rng = np.random.default_rng(len(name))
    for centre in ((80.3, 59.6), (5.2, 110.7), (150.0, 4.1)):
        outline = (CLASSES | CLUTTER)[name](rng)
        angle, (wide, high) = rng.uniform(0, 2 * np.pi), rng.uniform(15, 40, 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        transform = turn @ np.diag([wide, high])

        box = rasterize(outline, transform, centre).clip(SIZE).box

        expected = _box_by_opencv(outline, transform, centre)
        assert np.abs(np.subtract(box, expected)).max() <= 1


def _box_by_opencv(
    outline: Outline, transform: np.ndarray, centre: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Draw on a blank picture eight times as fine, average, and look for the edges."""
    cv2 = pytest.importorskip("cv2")
    canvas = np.zeros((SIZE[0] * FINE, SIZE[1] * FINE), np.float32)
    for points, value in ((outline.solid, 1.0), (outline.hole, 0.0)):
        if points is not None:
            fine = (points @ transform.T + centre) * FINE - 0.5
            cv2.fillPoly(canvas, [np.round(fine).astype(np.int32)], value)
    drawn = cv2.resize(canvas, SIZE[::-1], interpolation=cv2.INTER_AREA) >= 0.5
    pixels = [(x, y) for y in range(SIZE[0]) for x in range(SIZE[1]) if drawn[y, x]]
    columns, rows = [x for x, _ in pixels], [y for _, y in pixels]
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def test_a_clipped_stamp_keeps_its_place():
    """Clipping cuts off what sticks out and moves nothing."""
    coverage = np.arange(20, dtype=np.float32).reshape(4, 5)

    clipped = Stamp(coverage, top=-1, left=7).clip((10, 10))

    canvas = np.full((20, 20), -1, np.float32)  # a margin of 5 on each side
    canvas[4:8, 12:17] = coverage
    assert np.array_equal(clipped.coverage, canvas[5:15, 5:15][clipped.window])
    assert clipped.coverage.shape == (3, 3)
