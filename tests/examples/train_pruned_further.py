"""Train a pruned model further in Ultralytics: `python train_pruned_further.py MODEL DATA OUT`.

MODEL is a run's `pruned.safetensors` or `recovered.safetensors`, DATA a `data.yaml`, and OUT
will be a file of the same kind: the next training can start from it.
"""

import sys
from pathlib import Path

from ultralytics import YOLO  # first: see xprune.models.ultralytics.further

from xprune.models.files.checkpoint import save_checkpoint
from xprune.models.load import load_detector
from xprune.models.ultralytics.further import trained_detector, ultralytics_trainer


def main(model: str, data: str, out: str, **options: object) -> None:
    """Train for an epoch, or as Ultralytics' options say."""
    detector = load_detector(model)
    yolo = YOLO("yolov8n.yaml", verbose=False)
    settings = {"epochs": 1, "optimizer": "AdamW", "lr0": 2e-4, **options}
    yolo.train(trainer=ultralytics_trainer(detector), data=data, **settings)
    save_checkpoint(Path(out), trained_detector(detector, yolo.model))


if __name__ == "__main__":
    main(*sys.argv[1:])
