"""A file that Ultralytics exported has the AP that its own `val` predicts, in our benchmark."""

import contextlib
import io
import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from runtime_bench.accuracy.predictions import evaluate_artifact
from runtime_bench.data.dataset import read_dataset
from tests.exporters.conftest import run_upstream

pytestmark = [pytest.mark.needs_torch, pytest.mark.slow]

PICTURES = 40


@pytest.fixture(scope="module")
def labels(data_folder, tmp_path_factory):
    """COCO JSON of the first pictures of coco_val, by their official ids."""
    document = json.loads((data_folder / "coco_val" / "instances.json").read_text())
    images = document["images"][:PICTURES]
    ids = {image["id"] for image in images}
    boxes = [box for box in document["annotations"] if box["image_id"] in ids]
    path = tmp_path_factory.mktemp("labels") / "instances.json"
    path.write_text(json.dumps({**document, "images": images, "annotations": boxes}))
    return path


def test_ap_is_that_of_its_own_predictions(data_folder, labels, tmp_path):
    """The same file and pictures, from 0.001 on: pycocotools says the same within 0.001."""
    pictures = data_folder / "coco_val" / "images"
    weights = data_folder / "weights" / "yolov8n_coco.pth"
    run_upstream("upstream_val.py", weights, pictures, labels, tmp_path)
    (predictions,) = (tmp_path / "val").rglob("predictions.json")

    ours = evaluate_artifact(
        tmp_path / "yolov8n.onnx", read_dataset(labels, images_dir=pictures), progress=False
    )

    assert ours.pictures == PICTURES
    assert ours.ap == pytest.approx(ap_of(labels, predictions), abs=0.001)


def ap_of(labels, predictions):
    """Return pycocotools' AP of a file of predictions; `val` counts classes from 1."""
    found = json.loads(predictions.read_text())
    document = json.loads(labels.read_text())
    by_stem = {Path(image["file_name"]).stem: image["id"] for image in document["images"]}
    ids = [category["id"] for category in document["categories"]]
    for box in found:
        box["image_id"] = by_stem[Path(box["file_name"]).stem]
        box["category_id"] = ids[box["category_id"] - 1]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(labels))
        scored = COCOeval(truth, truth.loadRes(found), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return scored.stats[0]
