"""Non-maximum suppression where each class has boxes of its own, as a Faster R-CNN gives them.

It answers what the numpy decoder `decode_class_boxes` answers.
"""

import numpy as np
import onnx

from exporters.heads.steps import Step, with_detections
from exporters.raw_layout import CLASS_BOXES, REGION_ROWS, rows_of
from runtime_bench.artifact.manifest import DETECTION_OUTPUTS


def append_class_nms(
    model: onnx.ModelProto, *, names_count: int, min_score: float, iou: float, max_boxes: int
) -> onnx.ModelProto:
    """Return a graph that ends in boxes, scores and labels instead of the raw tensor.

    The new outputs are boxes (N, 4), left, top, right, bottom, in pixels of the input, scores
    (N,), highest first, and labels (N,) int64, with N from 0 to `max_boxes`.

    Args:
        model: Its one output is (1, 4 + 5 × names_count, regions): the regions, for each class
            its boxes, ltrb in pixels, and then their scores in [0, 1]. It is not changed.
        names_count: The number of classes.
        min_score: Candidates must score more than this.
        iou: The overlap beyond which the lower one of two boxes of a class goes.
        max_boxes: The most boxes to return.
    """
    (raw,) = model.graph.output
    _, rows, regions = (axis.dim_value for axis in raw.type.tensor_type.shape.dim)
    assert rows == rows_of(CLASS_BOXES, names_count), f"{rows} rows for {names_count} classes"
    constants = {
        "row_counts": np.array([REGION_ROWS, 4 * names_count, names_count]),
        # Each class is a picture of its own to the operator, so that none meets another.
        "boxes_shape": np.array([names_count, 4, regions]),
        "scores_shape": np.array([names_count, 1, regions]),
        "scores_2d": np.array([names_count, regions]),
        "class_and_region": np.array([0, 2]),
        "flat": np.array([-1]),
        "max_boxes": np.array([max_boxes]),
        "iou": np.array([iou], np.float32),
        "min_score": np.array([min_score], np.float32),
    }
    return with_detections(model, constants, _steps(raw.name))


def _steps(raw: str) -> list[Step]:
    boxes, scores, labels = DETECTION_OUTPUTS
    return [
        ("Split", [raw, "row_counts"], ["regions", "box_rows", "score_rows"], {"axis": 1}),
        ("Reshape", ["box_rows", "boxes_shape"], ["by_row"], {}),
        ("Transpose", ["by_row"], ["by_class"], {"perm": [0, 2, 1]}),
        ("Reshape", ["score_rows", "scores_shape"], ["class_scores"], {}),
        (
            "NonMaxSuppression",
            ["by_class", "class_scores", "max_boxes", "iou", "min_score"],
            ["kept"],  # (kept, 3): class, 0, region
            {},
        ),
        ("Gather", ["kept", "class_and_region"], ["pairs"], {"axis": 1}),
        ("Reshape", ["score_rows", "scores_2d"], ["flat_scores"], {}),
        ("GatherND", ["flat_scores", "pairs"], ["kept_scores"], {}),
        ("Shape", ["kept_scores"], ["kept_count"], {}),
        ("Min", ["kept_count", "max_boxes"], ["count"], {}),
        ("TopK", ["kept_scores", "count"], [scores, "best"], {"axis": 0}),
        ("Gather", ["pairs", "best"], ["best_pairs"], {"axis": 0}),
        ("Split", ["best_pairs"], ["class", "region"], {"axis": 1, "num_outputs": 2}),
        ("Reshape", ["class", "flat"], [labels], {}),
        ("GatherND", ["by_class", "best_pairs"], [boxes], {}),
    ]
