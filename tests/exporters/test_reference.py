"""A file of two stages is compared where it looked, and must look where PyTorch would."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from exporters.onnx_export import export_raw
from exporters.reference import Reference
from runtime_bench.errors import EdgeError

SIZE = (32, 32)
BOXES = torch.tensor(
    [[0.0, 0, 10, 10], [1, 0, 11, 10], [15, 15, 30, 30], [2, 20, 9, 31], [20, 2, 28, 9]]
)


class Twice(nn.Module):
    """Looks at three of five places, and tells the mean of each with a box and a score."""

    def __init__(self, scores: list[float], chosen: list[int]) -> None:
        super().__init__()
        self.register_buffer("scores", torch.tensor(scores))
        self.register_buffer("places", BOXES)
        self.register_buffer("chosen", torch.tensor(chosen))

    def forward(self, images: Tensor) -> Tensor:
        return self.at_regions(images, self.places[self.chosen][None] + 0 * images.mean())

    def at_regions(self, images: Tensor, regions: Tensor) -> Tensor:
        score = (regions.sum(2, keepdim=True) / 200 + images.mean()).sigmoid()
        return torch.cat((regions, regions + 1, score), 2).transpose(1, 2)

    def candidates(self, images: Tensor) -> Tensor:
        return torch.cat((self.places, self.scores[:, None]), 1)[None].to(images)


PROBES = {"noise": np.random.default_rng(0).random((1, 3, *SIZE), np.float32)}
SCORES = [2.0, 2.0, 1.0, 0.5, 0.1]


def beside(theirs: list[int], scores: list[float] = SCORES):
    """What PyTorch, which looks at 0, 2 and 3, says beside a file that looks elsewhere."""
    file = export_raw(Twice(scores, theirs), size=SIZE)
    reference = Reference(Twice(scores, [0, 2, 3]), PROBES)
    return reference, reference.beside(file.SerializeToString(), "output0")


def test_pytorch_is_asked_what_it_sees_there():
    """In the file's order, in 32 and in 64 bits; its own answer is in another one."""
    reference, (answers, exact, figures) = beside([3, 0, 2])

    assert np.array_equal(answers["noise"][:4].T, BOXES[[3, 0, 2]].numpy())
    assert (answers["noise"].dtype, exact["noise"].dtype) == (np.float32, np.float64)
    assert np.array_equal(reference.answers["noise"][:, [2, 0, 1]], answers["noise"])
    assert figures["regions"]["share_apart"] == 0


def test_either_of_two_equals_may_be_looked_at():
    """Both overlap and score alike, and one of them stands for both."""
    _, (answers, _, figures) = beside([1, 2, 3])

    assert np.array_equal(answers["noise"][:4].T, BOXES[[1, 2, 3]].numpy())
    assert figures["regions"]["share_apart"] == 0


def test_any_of_the_last_equals_may_be_looked_at():
    """There was room for one of them."""
    _, (_, _, figures) = beside([0, 2, 4], [2.0, 2.0, 1.0, 0.5, 0.5])

    assert figures["regions"]["share_apart"] == 0


@pytest.mark.parametrize(
    ("theirs", "scores"),
    [([1, 2, 3], [2.0, 1.9, 1.0, 0.5, 0.1]), ([0, 4, 3], [2.0, 2.0, 1.0, 0.5, 1.0])],
    ids=["the lesser of two", "an equal elsewhere"],
)
def test_other_regions_are_refused(theirs: list[int], scores: list[float]):
    """With the probe and the share of them."""
    with pytest.raises(EdgeError, match=r"other regions .* probe 'noise': 0\.333 of them"):
        beside(theirs, scores)


def test_regions_of_nowhere_are_refused():
    """A place that is no candidate has no excuse, whatever scores as much."""
    far = Twice(SCORES, [0, 2, 3])
    far.places = far.places + 0.4 * torch.tensor([1.0, -1, 1, -1])
    file = export_raw(far, size=SIZE)
    reference = Reference(Twice(SCORES, [0, 2, 3]), PROBES)

    with pytest.raises(EdgeError, match="other regions"):
        reference.beside(file.SerializeToString(), "output0")


def test_one_stage_is_compared_as_it_is():
    """There is nothing to look for in the file."""

    class Once(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[:, :, 0]

    reference = Reference(Once(), PROBES)

    answers, _, figures = reference.beside(b"no model", "output0")

    assert np.array_equal(answers["noise"], PROBES["noise"][0, :, 0])
    assert figures == {}
