"""With real weights and pictures: our files and Ultralytics' own tools agree."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from exporters.bundle import build_artifact
from exporters.card import ModelCard
from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.preprocess import letterbox, read_picture
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings
from tests.exporters.conftest import Wrapped
from xprune.models.ultralytics import upstream

pytestmark = [pytest.mark.needs_torch, pytest.mark.slow]

SIZE = (320, 320)

PREDICT = """
import json, sys
from ultralytics import YOLO

(result,) = YOLO(sys.argv[1], task="detect").predict(
    sys.argv[2], imgsz=320, conf=0.25, iou=0.7, rect=False, verbose=False, device="cpu"
)
print(json.dumps({"boxes": result.boxes.data.tolist(), "names": result.names}))
"""


@pytest.fixture(scope="module")
def detector(data_folder):
    """YOLOv8n with COCO weights, and its class names."""
    stored = torch.load(data_folder / "weights" / "yolov8n_coco.pth", weights_only=True)
    network = upstream.tasks().DetectionModel("yolov8n.yaml", verbose=False)
    network.load_state_dict(
        {name: value.float() for name, value in stored["state_dict"].items()}
    )
    names = stored["names"]
    ordered = names.values() if isinstance(names, dict) else names
    return Wrapped(network).eval(), tuple(ordered)


@pytest.fixture(scope="module")
def paths(data_folder):
    """Six test pictures."""
    return sorted((data_folder / "coco_val" / "images").iterdir())[:6]


@pytest.fixture(scope="module")
def artifact(detector, paths, tmp_path_factory):
    """Return a function of `raw`: the folder and manifest of an artifact at 320 px."""
    module, names = detector
    card = ModelCard("yolov8n", "yolo", "AGPL-3.0", names, stride=32)
    pictures = [read_picture(path) for path in paths[:2]]

    def build(*, raw):
        folder = tmp_path_factory.mktemp("real") / "artifact"
        options = {"card": card, "size": SIZE, "raw": raw, "pictures": pictures}
        return folder, build_artifact(module, folder=folder, **options)

    return build


def test_nms_inside_equals_ultralytics(detector, artifact, paths):
    """Real pictures, scores from 0.001: row for row the answer of Ultralytics' NMS."""
    folder, manifest = artifact(raw=False)
    session = open_session(folder / "model.onnx", SessionSettings())
    suppress = upstream.part("utils.nms", "non_max_suppression")
    unequal = 0
    for path in paths:
        image = letterbox(read_picture(path), InputSpec(size=SIZE))[0][None]
        with torch.no_grad():
            raw = detector[0](torch.from_numpy(image))
        (expected,) = suppress(
            raw,
            conf_thres=0.001,
            iou_thres=0.7,
            max_det=300,
            multi_label=True,
            max_time_img=100,
        )
        actual = session.run(image)

        assert len(expected) == len(actual["scores"])
        np.testing.assert_allclose(actual["scores"], expected[:, 4], atol=1e-5)
        boxes_differ = np.abs(actual["boxes"] - expected[:, :4].numpy()).max(axis=1) > 0.05
        unequal += int((boxes_differ | (actual["labels"] != expected[:, 5].numpy())).sum())

    assert unequal == 0
    assert manifest.parity["detections"]["ties"] == 0


def test_ultralytics_opens_a_raw_export(artifact, paths):
    """`YOLO("model.onnx")` reads names and size, and finds what our decoder finds."""
    folder, manifest = artifact(raw=True)
    environment = {**os.environ, "YOLO_OFFLINE": "True", "YOLO_AUTOINSTALL": "False"}
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, str(folder / "model.onnx"), str(paths[0])],
        env=environment,
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])

    from runtime_bench.artifact.decode import decode_yolo

    image, placement = letterbox(read_picture(paths[0]), InputSpec(size=SIZE))
    raw = open_session(folder / "model.onnx", SessionSettings()).run(image[None])["output0"][0]
    ours = decode_yolo(raw, min_score=0.25, iou=0.7, max_boxes=300, multi_label=False)
    theirs = np.array(answer["boxes"], np.float32).reshape(-1, 6)
    assert tuple(answer["names"].values()) == manifest.names
    assert len(ours) == len(theirs) > 0
    np.testing.assert_array_equal(ours.labels, theirs[:, 5])
    np.testing.assert_allclose(ours.scores, theirs[:, 4], atol=0.01)
    np.testing.assert_allclose(placement.to_picture(ours.boxes), theirs[:, :4], atol=2)
