"""In a process of its own: Ultralytics exports YOLOv8n, and its `val` predicts with the file.

    python upstream_val.py WEIGHTS PICTURES LABELS FOLDER

Leaves FOLDER/yolov8n.onnx and, under FOLDER/val, the predictions that `val` writes.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

SIZE_PX = 320


def export(weights: Path, folder: Path) -> Path:
    """Export as a user would, by Ultralytics' own exporter."""
    stored = torch.load(weights, weights_only=True)
    network = DetectionModel("yolov8n.yaml", verbose=False)
    network.load_state_dict({k: value.float() for k, value in stored["state_dict"].items()})
    names = stored["names"]
    network.names = dict(enumerate(names.values() if isinstance(names, dict) else names))
    network.args = {"imgsz": 640, "data": "coco.yaml", "single_cls": False}
    network.task, network.pt_path = "detect", str(folder / "yolov8n.pt")
    model = YOLO("yolov8n.yaml", verbose=False)
    model.model, model.ckpt_path = network.eval(), network.pt_path
    return Path(model.export(format="onnx", imgsz=SIZE_PX, simplify=False, opset=17))


def copy_pictures(pictures: Path, labels: Path, folder: Path) -> Path:
    """Copy the pictures that a COCO JSON names, with labels as Ultralytics reads them."""
    document = json.loads(labels.read_text())
    classes = {category["id"]: place for place, category in enumerate(document["categories"])}
    for kind in ("images", "labels"):
        (folder / "data" / kind).mkdir(parents=True)
    for image in document["images"]:
        name = Path(image["file_name"])
        shutil.copyfile(pictures / name, folder / "data/images" / name)
        lines = [
            f"{classes[box['category_id']]} {_centred(box['bbox'], image)}"
            for box in document["annotations"]
            if box["image_id"] == image["id"] and not box.get("iscrowd")
        ]
        (folder / "data/labels" / name.with_suffix(".txt")).write_text("\n".join(lines))
    content = {
        "path": str(folder / "data"),
        "train": "images",
        "val": "images",
        "names": [category["name"] for category in document["categories"]],
    }
    (folder / "data.yaml").write_text(json.dumps(content))
    return folder / "data.yaml"


def _centred(box: Sequence[float], image: Mapping[str, int]) -> str:
    left, top, width, height = box
    along = [(left + width / 2), (top + height / 2), width, height]
    whole = [image["width"], image["height"]] * 2
    return " ".join(str(part / side) for part, side in zip(along, whole, strict=True))


def main() -> None:
    """Export, then predict."""
    weights, pictures, labels, folder = map(Path, sys.argv[1:])
    model = export(weights, folder)
    YOLO(str(model), task="detect").val(
        data=str(copy_pictures(pictures, labels, folder)),
        imgsz=SIZE_PX,
        batch=1,
        conf=0.001,
        iou=0.7,
        max_det=300,
        save_json=True,
        plots=False,
        verbose=False,
        device="cpu",
        rect=False,
        project=str(folder),
        name="val",
    )


if __name__ == "__main__":
    main()
