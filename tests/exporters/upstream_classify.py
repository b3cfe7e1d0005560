"""In a process of its own: Ultralytics exports a classifier, and predicts with the file.

    python upstream_classify.py FOLDER

Reads FOLDER/pictures; leaves FOLDER/yolov8n-cls.onnx and FOLDER/scores.json, the scores of all
classes by the name of the picture.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import ClassificationModel

SIZE_PX = 64
CLASSES = 7


def main() -> None:
    """Export weights by chance, made so that its answers differ, then predict."""
    folder = Path(sys.argv[1])
    torch.manual_seed(0)
    network = ClassificationModel("yolov8n-cls.yaml", nc=CLASSES, verbose=False)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                module.weight.mul_(1.1)
        network.model[-1].linear.weight.mul_(200)
    network.names = {index: f"class {index}" for index in range(CLASSES)}
    network.args = {"imgsz": SIZE_PX, "data": "", "single_cls": False}
    network.task, network.pt_path = "classify", str(folder / "yolov8n-cls.pt")
    model = YOLO("yolov8n-cls.yaml", task="classify", verbose=False)
    model.model, model.ckpt_path = network.eval(), network.pt_path
    exported = model.export(format="onnx", imgsz=SIZE_PX, simplify=False, opset=17)
    found = YOLO(exported, task="classify").predict(
        str(folder / "pictures"), imgsz=SIZE_PX, device="cpu", verbose=False, save=False
    )
    scores = {Path(one.path).name: one.probs.data.tolist() for one in found}
    (folder / "scores.json").write_text(json.dumps(scores))


if __name__ == "__main__":
    main()
