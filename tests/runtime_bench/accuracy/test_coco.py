"""Average precision: pycocotools' own figures, and the corners that it does not take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from runtime_bench.accuracy.coco import average_precision
from runtime_bench.artifact.detections import NO_DETECTIONS, Detections
from runtime_bench.data.pictures import Picture
from runtime_bench.errors import EdgeError

NAMES = ("a", "b", "c")
SIZE = (100, 200)


def random_boxes(generator: np.random.Generator, count: int) -> np.ndarray:
    """Return (count, 4) boxes inside a picture of `SIZE`."""
    corner = generator.uniform(0, [150, 60], size=(count, 2))
    extent = generator.uniform(5, 40, size=(count, 2))
    return np.concatenate([corner, corner + extent], axis=1).astype(np.float32)


def labelled(generator: np.random.Generator, count: int, *, crowds: int = 0) -> Picture:
    """Return a picture with `count` boxes of classes 0 and 1, the first ones crowds."""
    boxes = random_boxes(generator, count)
    labels = generator.integers(0, 2, count)
    return Picture("p", Path("p"), SIZE, boxes, labels, np.arange(count) < crowds)


def shaken(picture: Picture, generator: np.random.Generator) -> Detections:
    """Return detections near the labels, a few of them wrong."""
    boxes = picture.boxes + generator.normal(0, 1.5, picture.boxes.shape)
    extra = random_boxes(generator, 3)
    labels = np.concatenate([picture.labels, generator.integers(0, 3, 3)])
    scores = generator.uniform(0.1, 1, len(labels))
    return Detections(np.concatenate([boxes, extra]), scores, labels)


def by_pycocotools(
    pictures: list[Picture], found: list[Detections], folder: Path
) -> list[float]:
    """Return AP, AP50, AP75 through files, as pycocotools is meant to be used."""
    images = [{"id": i + 7, "height": 100, "width": 200} for i in range(len(pictures))]
    annotations = []
    for number, picture in enumerate(pictures):
        for row, box in enumerate(picture.boxes.astype(float)):
            x, y, w, h = box[0], box[1], box[2] - box[0], box[3] - box[1]
            annotations.append(
                {
                    "id": 500 + len(annotations),
                    "image_id": number + 7,
                    "category_id": int(picture.labels[row]) * 10 + 3,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(picture.crowd[row]),
                }
            )
    results = []
    for number, detections in enumerate(found):
        for row, box in enumerate(detections.boxes.astype(float)):
            results.append(
                {
                    "image_id": number + 7,
                    "category_id": int(detections.labels[row]) * 10 + 3,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "score": float(detections.scores[row]),
                }
            )
    categories = [{"id": index * 10 + 3, "name": name} for index, name in enumerate(NAMES)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps(results))
    coco = COCO(str(folder / "truth.json"))
    scoring = COCOeval(coco, coco.loadRes(str(folder / "found.json")), "bbox")
    scoring.evaluate()
    scoring.accumulate()
    scoring.summarize()
    return [float(value) for value in scoring.stats[:3]]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_figures_are_those_of_pycocotools(tmp_path: Path, seed: int) -> None:
    """AP, AP50 and AP75 equal those of pycocotools fed with files, crowds included."""
    generator = np.random.default_rng(seed)
    pictures = [labelled(generator, count, crowds=count // 5) for count in (6, 0, 11, 3)]
    found = [shaken(picture, generator) for picture in pictures]

    ours = average_precision(pictures, found, NAMES)

    assert [ours.ap, ours.ap50, ours.ap75] == by_pycocotools(pictures, found, tmp_path)
    assert 0.05 < ours.ap < 0.95
    assert ours.pictures == 4
    assert ours.boxes == sum(int((~p.crowd).sum()) for p in pictures)


def test_perfect_detections_score_one() -> None:
    """The very first box counts too: pycocotools takes an id of 0 for "no match"."""
    pictures = [labelled(np.random.default_rng(0), 4)]
    found = [Detections(p.boxes, np.ones(4), p.labels) for p in pictures]

    scored = average_precision(pictures, found, NAMES)

    assert scored.ap == pytest.approx(1.0)
    assert scored.ap_by_class == pytest.approx({"a": 1.0, "b": 1.0})


def test_nothing_found_scores_zero() -> None:
    """No detection at all is an answer, and its score is 0."""
    pictures = [labelled(np.random.default_rng(0), 4)]

    scored = average_precision(pictures, [NO_DETECTIONS], NAMES)

    assert (scored.ap, scored.ap50, scored.ap75) == (0.0, 0.0, 0.0)
    assert scored.ap_by_class == {"a": 0.0, "b": 0.0}


def test_a_class_without_a_box_does_not_count() -> None:
    """Detections of a class that is nowhere labelled change nothing."""
    picture = labelled(np.random.default_rng(0), 4)
    right = Detections(picture.boxes, np.ones(4), picture.labels)
    extra = Detections(
        np.concatenate([picture.boxes, picture.boxes[:1]]),
        np.ones(5),
        np.append(picture.labels, 2),
    )

    assert average_precision([picture], [extra], NAMES) == average_precision(
        [picture], [right], NAMES
    )


def test_without_a_box_there_is_nothing_to_score() -> None:
    """Pictures without any box are an error, not an AP of -1."""
    empty = labelled(np.random.default_rng(0), 0)

    with pytest.raises(EdgeError, match="no labelled box in 1 pictures"):
        average_precision([empty], [NO_DETECTIONS], NAMES)


def test_it_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """pycocotools' progress does not reach the standard output, which may be piped JSON."""
    picture = labelled(np.random.default_rng(0), 4)

    average_precision([picture], [Detections(picture.boxes, np.ones(4), picture.labels)], NAMES)

    assert capsys.readouterr().out == ""
