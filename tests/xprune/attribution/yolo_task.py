"""A tiny YOLO on a few built-in scenes as a scoring task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.data.dataset import read_dataset
from tests.reference.cards import raw_manifest
from tests.reference.toy_networks import tiny_yolo
from xprune.attribution.attribute import ScoringTask
from xprune.data.batches import PictureTensor, own_answers, read_pictures
from xprune.layers.candidates import Candidate, find_candidates
from xprune.models.families import YOLO
from xprune.models.targets import Targets

SIZE = (96, 96)
# The weights are random, so nothing is ever sure.
MIN_SCORE = 0.0019


@dataclass(frozen=True)
class Scenes:
    """Pictures, the network that looks at them, and both kinds of targets.

    The last picture has nothing on it.
    """

    network: nn.Module
    candidates: tuple[Candidate, ...]
    pictures: PictureTensor
    targets: dict[str, tuple[Targets, ...]]

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return next(self.network.parameters()).dtype

    def task(self, *, batch: int, targets: str, layers: tuple[str, ...] = ()) -> ScoringTask:
        """Return the task of scoring all candidates, or some."""
        wanted = self.targets[targets]

        def losses(index: int, outputs: object) -> Tensor:
            assert isinstance(outputs, dict)
            part = wanted[index * batch : (index + 1) * batch]
            return YOLO.picture_losses(self.network, outputs, part)

        return ScoringTask(
            network=self.network,
            candidates=tuple(c for c in self.candidates if not layers or c.name in layers),
            batches=-(-len(wanted) // batch),
            forward=lambda index: YOLO.head_outputs(
                self.network,
                self.pictures.images(index * batch, (index + 1) * batch).to(self.dtype),
            ),
            losses=losses,
        )


def read_scenes(scenes_file: Path) -> Scenes:
    """Read the built-in scenes for the tiny YOLO."""
    network = tiny_yolo()
    read = read_pictures(
        read_dataset(scenes_file).pictures, InputSpec(size=SIZE), label="Reading scenes"
    )
    nothing = Targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    pictures = replace(read, labels=(*read.labels[:-1], nothing))
    classes = YOLO.decoded(network)(pictures.images(0, 1)).shape[1] - 4
    manifest = raw_manifest(SIZE, classes, min_score=MIN_SCORE)
    own = own_answers(YOLO.decoded(network), pictures, manifest, batch=16)
    return Scenes(
        network=network,
        candidates=find_candidates(
            network, lambda: YOLO.head_outputs(network, pictures.images(0, 1))
        ),
        pictures=pictures,
        targets={"labels": pictures.labels, "own detections": own},
    )
