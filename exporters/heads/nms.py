"""Non-maximum suppression at the end of a graph, in plain ONNX operators.

It answers what the numpy decoder `decode_yolo` answers: class by class, several labels to a
box, the best boxes by falling score. Two things differ, and neither can be seen in practice:
Ultralytics looks at the 30,000 best candidates only, this at all; and an overlap within
rounding of the limit may fall on the other side, since boxes are compared as centre and size.
"""

import numpy as np
import onnx

from exporters.heads.steps import Step, with_detections
from runtime_bench.artifact.manifest import DETECTION_OUTPUTS


def append_nms(
    model: onnx.ModelProto, *, names_count: int, min_score: float, iou: float, max_boxes: int
) -> onnx.ModelProto:
    """Return a graph that ends in boxes, scores and labels instead of the raw tensor.

    The new outputs are boxes (N, 4), left, top, right, bottom, in pixels of the input, scores
    (N,), highest first, and labels (N,) int64, with N from 0 to `max_boxes`.

    Args:
        model: Its one output is (1, 4 + names_count, anchors): centre x, centre y, width and
            height in pixels, then a score in [0, 1] for each class. It is not changed.
        names_count: The number of classes.
        min_score: Candidates must score more than this.
        iou: The overlap beyond which the lower one of two boxes of a class goes.
        max_boxes: The most boxes to return.
    """
    (raw,) = model.graph.output
    rows = raw.type.tensor_type.shape.dim[1].dim_value
    assert rows == 4 + names_count, f"{rows} rows for {names_count} classes"
    constants = {
        "box_rows": np.array([4, names_count]),
        "first_axis": np.array([0]),
        "columns": np.array([1, 2]),
        "flat": np.array([-1]),
        "max_boxes": np.array([max_boxes]),
        "iou": np.array([iou], np.float32),
        "min_score": np.array([min_score], np.float32),
        "half": np.array(0.5, np.float32),
    }
    return with_detections(model, constants, _steps(raw.name))


def _steps(raw: str) -> list[Step]:
    """Return the operators; a name of this page is a value, or else a constant above."""
    boxes, scores, labels = DETECTION_OUTPUTS
    return [
        # The scores stay as they are, (1, classes, anchors): the order that NMS wants.
        ("Split", [raw, "box_rows"], ["by_row", "class_scores"], {"axis": 1}),
        ("Transpose", ["by_row"], ["by_anchor"], {"perm": [0, 2, 1]}),
        (
            "NonMaxSuppression",
            ["by_anchor", "class_scores", "max_boxes", "iou", "min_score"],
            ["kept"],  # (kept, 3): picture, class, anchor; class by class
            {"center_point_box": 1},
        ),
        ("Gather", ["kept", "columns"], ["class_and_anchor"], {"axis": 1}),
        ("Squeeze", ["class_scores", "first_axis"], ["scores_2d"], {}),
        ("GatherND", ["scores_2d", "class_and_anchor"], ["kept_scores"], {}),
        ("Shape", ["kept_scores"], ["kept_count"], {}),
        ("Min", ["kept_count", "max_boxes"], ["count"], {}),
        ("TopK", ["kept_scores", "count"], [scores, "best"], {"axis": 0}),
        ("Gather", ["class_and_anchor", "best"], ["best_pairs"], {"axis": 0}),
        ("Split", ["best_pairs"], ["class", "anchor"], {"axis": 1, "num_outputs": 2}),
        ("Reshape", ["class", "flat"], [labels], {}),
        ("Reshape", ["anchor", "flat"], ["anchor_1d"], {}),
        # Only the boxes that are left are turned into corners.
        ("Squeeze", ["by_anchor", "first_axis"], ["boxes_2d"], {}),
        ("Gather", ["boxes_2d", "anchor_1d"], ["best_boxes"], {"axis": 0}),
        ("Split", ["best_boxes"], ["centre", "extent"], {"axis": 1, "num_outputs": 2}),
        ("Mul", ["extent", "half"], ["half_extent"], {}),
        ("Sub", ["centre", "half_extent"], ["left_top"], {}),
        ("Add", ["centre", "half_extent"], ["right_bottom"], {}),
        ("Concat", ["left_top", "right_bottom"], [boxes], {"axis": 1}),
    ]
