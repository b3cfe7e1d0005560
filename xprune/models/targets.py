"""What a picture should show: what a loss is computed against."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """What one picture should show.

    Attributes:
        boxes: (N, 4) ltrb in input pixels; of a classifier one that is the whole picture.
        labels: (N,) int64.
    """

    boxes: Tensor
    labels: Tensor
