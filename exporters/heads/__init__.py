"""What is appended to a raw graph, as plain ONNX operators: HEADS, name → function."""

from collections.abc import Callable

import onnx

from exporters.heads.class_nms import append_class_nms
from exporters.heads.nms import append_nms

HEADS: dict[str, Callable[..., onnx.ModelProto]] = {
    "yolo": append_nms,
    "class_boxes": append_class_nms,
}
