"""What a pruned network is taught: by the unpruned one, or by labels as well.

What the head of the unpruned network reads and says at the same input size (knowledge
distillation, Hinton et al. 2015), and, where there are labels, the family's own loss.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from runtime_bench.artifact.manifest import Manifest, OutputSpec
from runtime_bench.artifact.preprocess import prepare
from runtime_bench.progress import track
from xprune.data.batches import answers, labelled_targets
from xprune.data.pool import PicturePool
from xprune.data.views import (
    View,
    batch_views,
    chosen_pictures,
    moved_targets,
    plain_view,
    shown,
)
from xprune.models.targets import Targets
from xprune.recovery.distances import feature_distances
from xprune.recovery.memory import Batch, Entry, Memory, put_together, taken_apart
from xprune.recovery.shared import Beginning, answering, common_beginning, kept
from xprune.stages.examination import Examination, make_examination
from xprune.stages.workbench import Workbench

# What the parts of the loss count. What the teacher finds on larger inputs is no target: in
# minutes it brought pruned networks nothing, and one that was not pruned lost AP.
OUTPUTS, FEATURES, FOUND = 1.0, 0.5, 0.3
TARGET_IOU = 0.65
# A batch is of as many pictures as have these pixels: memory does not grow with the size.
BATCH_PX = 8 * 320 * 320
FEWEST, MOST = 4, 16
# A view is looked at in so many rounds through the pictures, then the picture takes another:
# what the teacher says of it, and what both networks begin with, is computed once for all.
ROUNDS_OF_A_VIEW = 4
# What is remembered takes no more than this, and no more than a quarter of what is free.
MEMORY_BYTES = 3_000_000_000

Outputs = dict[str, Any]


@dataclass
class Lessons:
    """Batches of pictures with what is to be learnt from them.

    Attributes:
        bench: Of the run: its detector is the teacher.
        pool: Pictures; the last of them are held out.
        held_out: How many.
        device: Where to compute.
        labelled: Whether there are targets, which are the pictures' labels.
        common: Parameters of a taught network that are those of the teacher, and come before
            its first cut: what they compute is computed once for both.
    """

    bench: Workbench
    pool: PicturePool
    held_out: int
    device: torch.device
    labelled: bool = False
    common: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        teacher = copy.deepcopy(self.bench.detector.network).to(self.device)
        self.teacher = teacher.to(memory_format=torch.channels_last)
        self.family = self.bench.family
        self.sizes = [picture.size for picture in self.pool.pictures]
        self._memory = Memory(min(MEMORY_BYTES, psutil.virtual_memory().available // 4))
        self._begun: Beginning | None = None
        height, width = self.bench.size
        self.batch = min(max(BATCH_PX // (height * width), FEWEST), MOST)

    @cached_property
    def _sure(self) -> Manifest:
        """What the teacher's outputs mean where it says what is on a picture."""
        sure = self.bench.sure
        return replace(sure, output=replace(sure.output, iou=TARGET_IOU))

    @property
    def taught(self) -> int:
        """How many pictures are trained on."""
        return len(self.pool) - self.held_out

    def loss(self, network: nn.Module, step: int) -> Tensor:
        """Return the loss of a step's pictures; each keeps its view for some rounds."""
        seed = self.bench.run.config.seed
        chosen = chosen_pictures(self.taught, batch=self.batch, seed=seed, step=step)
        rounds = (np.arange(self.batch) + step * self.batch) // self.taught
        # A share of the pictures changes its view in each round.
        turns = (rounds + chosen) // ROUNDS_OF_A_VIEW
        spec = self.bench.spec
        views = batch_views(chosen.tolist(), turns.tolist(), self.sizes, spec, seed=seed)
        return self._loss(network, views)

    def missed(self, network: nn.Module) -> float:
        """Return what a network misses on the pictures held out: lower is better.

        It is 1 less the AP against what should be found there; where that is nothing, the loss.
        """
        if self.examination is None:
            return self._held_out_loss(network)
        return self.examination.missed(self.family.decoded(network), self.device)

    @cached_property
    def examination(self) -> Examination | None:
        """The pictures held out, with what the teacher is sure of there, or their labels."""
        indices = range(self.taught, len(self.pool))
        looking = track(indices, label="Looking at what is held out")
        right = [self._on_picture(index) for index in looking]
        return make_examination(self.pool, indices, right, self.bench.manifest(OutputSpec()))

    @torch.no_grad()
    def _held_out_loss(self, network: nn.Module) -> float:
        views = [
            plain_view(index, self.sizes[index], self.bench.spec)
            for index in range(self.taught, len(self.pool))
        ]
        total = 0.0
        for start in range(0, len(views), self.batch):
            some = views[start : start + self.batch]
            total += float(self._loss(network, some)) * len(some)
        return total / len(views)

    def _loss(self, network: nn.Module, views: Sequence[View]) -> Tensor:
        known = self._known(network, views)
        assert self._begun is not None, "it is found with the first views"
        with _mixed(self.device), answering(network, self._begun.answers(known)):
            images = self._begun.images(known)
            outputs = self._forward(network, images, known.get("regions"))
        loss: Tensor = OUTPUTS * self.family.output_distances(outputs, known).mean()
        aims = [known[f"feats.{level}"] for level in range(len(outputs["feats"]))]
        loss = loss + FEATURES * feature_distances(outputs["feats"], aims).mean()
        if self.labelled:
            targets = [self._in_view(view) for view in views]
            loss = loss + FOUND * self.family.batch_loss(network, outputs, targets)
        return loss

    @torch.no_grad()
    def _known(self, network: nn.Module, views: Sequence[View]) -> Batch:
        """Return what the teacher says of views, and what the network begins with."""
        entries = [self._memory.get(view.picture, view) for view in views]
        unknown = [view for view, entry in zip(views, entries, strict=True) if entry is None]
        fresh = self._looked_at(network, unknown) if unknown else []
        for view, entry in zip(unknown, fresh, strict=True):
            self._memory.put(view.picture, view, entry)
        left = iter(fresh)
        batch = put_together([next(left) if entry is None else entry for entry in entries])
        return {name: value.to(self.device) for name, value in batch.items()}

    def _looked_at(self, network: nn.Module, views: Sequence[View]) -> list[Entry]:
        """Return what is to be known of each of some views."""
        images = torch.stack(
            [shown(self.pool.pixels(view.picture), view, self.bench.spec) for view in views]
        )
        images = images.to(self.device, memory_format=torch.channels_last)
        with _mixed(self.device):
            begun = self._beginning(network, images)
            with kept(self.teacher, begun.parts, len(images)) as given:
                wanted = self._forward(self.teacher, images)
        features = {f"feats.{n}": level for n, level in enumerate(wanted.pop("feats"))}
        batch = {**begun.to_keep(images, given), **features, **wanted}
        return taken_apart({name: value.cpu() for name, value in batch.items()})

    def _beginning(self, network: nn.Module, images: Tensor) -> Beginning:
        if self._begun is None:
            regions = self._forward(self.teacher, images).get("regions")
            run = partial(self._forward, regions=regions)
            self._begun = common_beginning(network, self.teacher, self.common, images, run=run)
        return self._begun

    def _forward(
        self, network: nn.Module, images: Tensor, regions: Tensor | None = None
    ) -> Outputs:
        """Run a network; what comes out has 32 bits at least, whatever it was computed in."""
        outputs: Outputs = self.family.head_outputs(network, images, regions)
        return {
            name: [_widened(level) for level in value]
            if isinstance(value, list)
            else _widened(value)
            for name, value in outputs.items()
        }

    def _in_view(self, view: View) -> Targets:
        """Return what there is in a view; what a picture shows as a whole, each view shows."""
        found = self._on_picture(view.picture)
        if self.bench.detector.task == "classify":
            return found
        return moved_targets(found, view, self.bench.size)

    def _on_picture(self, index: int) -> Targets:
        """Return what there is on a picture, in pixels of the picture."""
        if self.labelled:
            return labelled_targets(self.pool.pictures[index])
        return self._detect(self.pool.pixels(index))

    @torch.no_grad()
    def _detect(self, pixels: Tensor) -> Targets:
        """Return what the teacher is sure of, in pixels of the picture."""
        image, placement = prepare(pixels.permute(1, 2, 0).numpy(), self.bench.spec)
        images = torch.from_numpy(image)[None].to(self.device)
        with _mixed(self.device):
            decoded = self.family.decoded(self.teacher)
            (found,) = answers(decoded, images, self._sure)
        return Targets(
            torch.from_numpy(placement.to_picture(found.boxes)), torch.from_numpy(found.labels)
        )


def _widened(value: Tensor) -> Tensor:
    return value if value.dtype == torch.float64 else value.float()


def _mixed(device: torch.device) -> AbstractContextManager[object]:
    """Return what computes in 16 bits where that is fast: on CUDA, and on CPUs made for it."""
    if device.type == "cuda":
        bfloat = torch.cuda.is_bf16_supported()
        return torch.autocast("cuda", dtype=torch.bfloat16 if bfloat else torch.float16)
    # Elsewhere bfloat16 is emulated, and slower. PyTorch asks the CPU, and tells it only here.
    made_for = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(made_for()))
