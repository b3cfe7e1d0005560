"""The families of detectors by name, and what each can do."""

from types import ModuleType

from xprune.models import yolo

MODELS: dict[str, ModuleType] = {
    "yolo": yolo,  # YOLOv3 to YOLOv12 with Ultralytics' Detect head
}
