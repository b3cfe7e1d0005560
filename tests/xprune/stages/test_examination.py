"""A recovery is judged by AP against what is to be found, as pycocotools has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.data.dataset import read_dataset
from tests.reference.cards import raw_manifest
from xprune.data.pool import read_pool
from xprune.models.targets import Targets
from xprune.stages.examination import make_examination

SPEC = InputSpec(size=(64, 64))
MANIFEST = raw_manifest(SPEC.size, ("cat", "dog"))


class Finds(nn.Module):
    """Finds these boxes (centre x, centre y, width, height) of class 0 on every picture."""

    def __init__(self, *boxes: tuple[float, ...]) -> None:
        super().__init__()
        columns = [[*box, 0.9 - 0.1 * index, 0.0] for index, box in enumerate(boxes)]
        self.raw = torch.tensor(columns).T[None]

    def forward(self, images: Tensor) -> Tensor:
        return self.raw.expand(len(images), -1, -1)


@pytest.fixture
def pool(scenes_file):
    """Three scenes."""
    return read_pool(read_dataset(scenes_file).pictures[:3], longest_px=640)


def answers(pool, box: tuple[float, ...]) -> list[Targets]:
    """The same box, given in pixels of the input, on each picture, in its own pixels."""
    from runtime_bench.artifact.preprocess import place

    found = []
    for picture in pool.pictures:
        boxes = place(picture.size, SPEC).to_picture(np.array([box], np.float32))
        found.append(Targets(torch.from_numpy(boxes), torch.tensor([0])))
    return found


@pytest.mark.parametrize(
    ("finds", "missed"),
    [
        (((32.0, 32.0, 16.0, 16.0),), 0.0),
        (((32.0, 32.0, 4.0, 4.0),), 1.0),
        # A wrong box first: every right one comes at a precision of a half.
        (((12.0, 12.0, 4.0, 4.0), (32.0, 32.0, 16.0, 16.0)), 0.5),
    ],
)
def test_what_is_missed_is_one_less_the_ap(pool, finds, missed):
    """All found is 0, nothing is 1, and a wrong one before each right one is a half."""
    made = make_examination(pool, [0, 1, 2], answers(pool, (24.0, 24.0, 40.0, 40.0)), MANIFEST)

    assert made is not None
    assert made.missed(Finds(*finds), torch.device("cpu")) == pytest.approx(missed, abs=0.01)


def test_where_there_is_nothing_to_find_there_is_no_examination(pool):
    """Another measure is needed then."""
    nothing = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))

    assert make_examination(pool, [0], [nothing], MANIFEST) is None
