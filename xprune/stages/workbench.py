"""What the stages of one run share: the detector, its pictures, and how to export and run it.

Each part is made when a stage first asks for it, so a stage that is already done costs nothing.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from exporters.bundle import check_size
from exporters.card import ModelCard
from exporters.graph import build_graph
from exporters.probes import make_probes
from runtime_bench.artifact.input_spec import InputSpec
from runtime_bench.artifact.manifest import Manifest, OutputSpec
from runtime_bench.artifact.preprocess import prepare, read_picture
from runtime_bench.data.dataset import Dataset, Picture
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.runtime.session import open_session
from runtime_bench.runtime.settings import SessionSettings
from xprune.config import BUILTIN
from xprune.data.batches import PictureTensor, own_answers, read_pictures
from xprune.data.pool import PicturePool, read_pool
from xprune.data.sets import (
    PictureRequest,
    PictureSets,
    class_names,
    read_labelled,
    recovery_set,
    split_and_match,
)
from xprune.layers.candidates import Candidate, count_macs, find_candidates
from xprune.models.detector import Detector
from xprune.models.families import MODELS
from xprune.models.family import Family
from xprune.models.load import load_detector
from xprune.models.targets import Targets
from xprune.run_folder import RunFolder

DEFAULT_SIDE_PX = 640
BATCH = 16
# Real pictures on which an exported graph is compared with PyTorch.
PROBE_PICTURES = 4
# Real pictures that are timed in turn: what NMS costs depends on what is to be seen.
TIMED_PICTURES = 16

Image = NDArray[np.float32]


class Workbench:
    """The parts of one run, made on demand.

    Attributes:
        run: The run's folder and configuration.
        say: Tells a person, in one line, what is being done.
        solved: The last plan that was solved, and what came out.
    """

    def __init__(self, run: RunFolder, say: Callable[[str], None]) -> None:
        self.run = run
        self.say = say
        self.solved: tuple[object, tuple[Detector, dict[str, float]]] | None = None
        self._regions: dict[bytes, torch.Tensor] = {}  # by the pictures' digest

    def check(self) -> None:
        """Raise now what would else be raised after some work; writes nothing.

        Raises:
            EdgeError: If the model or the pictures cannot be used as they were asked for.
            UsageError: If an option does not go with the model.
        """
        if self.run.config.raw and self.detector.task == "classify":
            raise UsageError("--raw leaves NMS out of a detector, and a classifier has none")
        _ = self.base_size
        self.family.check_size(self.detector.network, self.size)
        if self.run.config.data != BUILTIN:  # which is drawn into the run's folder
            _ = self.sets

    @cached_property
    def detector(self) -> Detector:
        """The unpruned detector; its classes are those of the data where it brings none."""
        config = self.run.config
        detector = load_detector(
            config.model,
            weights=config.weights,
            names_if_missing=self._names_of_data,
            seed=config.seed,
            say=self.say,
        )
        if detector.plan:
            raise EdgeError(
                f"{config.model} is pruned already; prune the model that it was made from"
            )
        if config.regions is None:
            return detector
        family = MODELS[detector.family]
        architecture = family.look_at(detector.network, detector.architecture, config.regions)
        return replace(detector, architecture=architecture)

    @property
    def family(self) -> Family:
        """What is known of networks like the detector's."""
        return MODELS[self.detector.family]

    @cached_property
    def size(self) -> tuple[int, int]:
        """Input (height, width) in pixels; that of the base while it is still open."""
        config = self.run.config
        given = config.base_imgsz if isinstance(config.imgsz, str) else config.imgsz
        usual = self.family.usual_size(self.detector.architecture)
        wanted = given or self.detector.imgsz or usual
        return check_size((wanted[0], wanted[1]), stride=self.detector.stride)

    @cached_property
    def base_size(self) -> tuple[int, int]:
        """Input (height, width) in pixels of the unpruned model that speed-ups are against."""
        wanted = self.run.config.base_imgsz
        return check_size(wanted, stride=self.detector.stride) if wanted else self.size

    def takes(self, size: tuple[int, int]) -> bool:
        """Return whether inputs (height, width) in pixels are large enough for the network."""
        try:
            self.family.check_size(self.detector.network, size)
        except EdgeError:
            return False
        return True

    @cached_property
    def spec(self) -> InputSpec:
        """How a picture becomes an input."""
        return self.detector.preprocessing.at(self.size)

    @cached_property
    def card(self) -> ModelCard:
        """What a manifest says of the model."""
        detector = self.detector
        return ModelCard(
            model_name=detector.name,
            family=detector.family,
            licence=detector.licence,
            names=detector.names,
            stride=detector.stride,
            task=detector.task,
            preprocessing=detector.preprocessing,
            decoder=self.family.decoder,
            nms_iou=self.family.nms_iou(detector.architecture),
            display_score=self.run.config.conf,
        )

    def manifest(self, limits: OutputSpec) -> Manifest:
        """Return what the network's own outputs mean, at the run's input size.

        Args:
            limits: What is to be left out of detections.
        """
        return self.card.manifest(self.size, self.card.raw_output(limits))

    @property
    def sure(self) -> Manifest:
        """The same, of what counts as found: detections, or the best class of a picture."""
        manifest = self.manifest(
            OutputSpec(min_score=self.run.config.conf, iou=self.card.nms_iou)
        )
        if manifest.task == "detect":
            return manifest
        return replace(manifest, output=replace(manifest.output, max_boxes=1))

    @cached_property
    def sets(self) -> PictureSets:
        """The pictures to test on, and those to score and refit on."""
        names = self.detector.names
        _ = self.size  # before any picture is read: an impossible size is the cheaper error
        sets = split_and_match(
            self._request,
            self._labelled,
            names,
            scenes=self._scenes,
            task=self.detector.task,
        )
        if sets.skipped:
            self.say(
                f"Left out {len(sets.skipped)} faulty pictures or boxes, the first one: "
                f"{sets.skipped[0]} (all are listed in the run's data.json)"
            )
        return sets

    @cached_property
    def _labelled(self) -> Dataset:
        """The run's data as it was read, its classes not matched yet."""
        return read_labelled(self._request, scenes=self._scenes)

    @cached_property
    def _request(self) -> PictureRequest:
        config = self.run.config
        if config.data is None:
            raise EdgeError(
                f"--model {config.model} needs --data: labelled pictures to measure accuracy on"
            )
        return PictureRequest(
            data=config.data,
            images_dir=Path(config.images_dir) if config.images_dir else None,
            calibration=config.calibration,
            test_count=config.images,
            calibration_count=config.calibration_images,
            seed=config.seed,
            skip_bad=config.skip_bad,
        )

    @property
    def _scenes(self) -> Path:
        return self.run.file("scenes")

    def _names_of_data(self) -> tuple[str, ...] | None:
        data = self.run.config.data
        if data is None:
            return None
        names = class_names(data, lambda: self._labelled)
        self.say(f"The model names no classes; it takes the {len(names)} of {data}")
        return names

    @cached_property
    def calibration(self) -> PictureTensor:
        """The calibration pictures in memory."""
        return read_pictures(
            self.sets.calibration.pictures, self.spec, label="Reading calibration pictures"
        )

    @cached_property
    def others(self) -> Dataset:
        """Pictures like the calibration pictures, on which no layer is scored."""
        found = recovery_set(self._request, self.sets, count=None, scenes=self._scenes)
        return replace(found, pictures=found.pictures[len(self.sets.calibration.pictures) :])

    @cached_property
    def recovery_pool(self) -> PicturePool:
        """The pictures that a recovery may train on, and hold out from it."""
        config = self.run.config
        found = recovery_set(
            self._request, self.sets, count=config.recover_images, scenes=self._scenes
        )
        longest_px = max(2 * max(self.size), DEFAULT_SIDE_PX)
        return read_pool(found.pictures, longest_px=longest_px, skip_bad=config.skip_bad)

    @cached_property
    def targets(self) -> tuple[Targets, ...]:
        """What the detector should find on the calibration pictures."""
        if self.sets.calibration.labelled:
            return self.calibration.labels
        decoded = self.decoded(self.detector.network)
        return own_answers(decoded, self.calibration, self.sure, batch=BATCH)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The layers that could go."""
        network, image = self.detector.network, torch.zeros(1, 3, *self.size)
        # Losses look at the best of the regions, and what ships at all of them.
        whole = self.decoded(network) if self.family.two_stages else None
        return find_candidates(
            network, lambda: whole(image) if whole else self.forward(network, image)
        )

    @cached_property
    def timed_images(self) -> list[Image]:
        """Inputs (1, 3, H, W) of real pictures, to time on."""
        return [
            self.calibration.images(index, index + 1).numpy()
            for index in range(min(TIMED_PICTURES, len(self.calibration.pixels)))
        ]

    @cached_property
    def base_images(self) -> list[Image]:
        """The same pictures as `timed_images`, at the size that speed-ups are against."""
        return (
            self.timed_images if self.base_size == self.size else self.images_at(self.base_size)
        )

    @cached_property
    def unpruned_graph(self) -> bytes:
        """The unpruned network's ONNX with a raw output."""
        return self.raw_graph(self.detector.network)

    def images_at(self, size: tuple[int, int]) -> list[Image]:
        """Return the pictures of `timed_images` as inputs of another size."""
        spec = self.detector.preprocessing.at(size)
        pixels = self.probe_pictures(len(self.timed_images))
        return [prepare(picture, spec)[0][None] for picture in pixels]

    def grey_image(self) -> Image:
        """Return an input (1, 3, H, W) without a picture on it."""
        return make_probes([], self.spec)["grey"]

    @property
    def session(self) -> SessionSettings:
        """How onnxruntime runs where models are timed in turn."""
        return SessionSettings(threads=self.run.config.threads, spinning=False)

    def runner(
        self, model: Path | bytes, images: Sequence[Image] | None = None
    ) -> Callable[[], object]:
        """Return a call that runs a model on the next picture, of `timed_images` by default."""
        session = open_session(model, self.session)
        endless = itertools.cycle(self.timed_images if images is None else images)
        return lambda: session.run(next(endless))

    def base_runner(self, model: Path | bytes) -> Callable[[], object]:
        """Return a call that runs a model of the base size on the next picture."""
        return self.runner(model, self.base_images)

    def forward(self, network: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run a network up to the raw outputs of its head.

        One of two stages looks where the unpruned one does: else nothing could be compared.
        """
        unpruned = self.detector.network
        if not self.family.two_stages or network is unpruned:
            return self.family.head_outputs(network, images)
        seen = hashlib.blake2b(images.detach().numpy().data).digest()
        if seen not in self._regions:
            with torch.no_grad():
                self._regions[seen] = self.family.head_outputs(unpruned, images)["regions"]
        return self.family.head_outputs(network, images, self._regions[seen])

    def results(self, network: nn.Module) -> list[torch.Tensor]:
        """Return what a network computes on one blank picture, for tracing dependence."""
        outputs = self.forward(network, torch.zeros(1, 3, *self.size))
        return [value for value in outputs.values() if isinstance(value, torch.Tensor)]

    def decoded(self, network: nn.Module) -> nn.Module:
        """Return the module to export."""
        return self.family.decoded(network)

    def macs(self, network: nn.Module, size: tuple[int, int]) -> int:
        """Return the multiply-adds for one picture, all regions of two stages included."""
        whole, image = self.decoded(network), torch.zeros(1, 3, *size)
        return count_macs(network, lambda: whole(image))

    def raw_graph(self, network: nn.Module) -> bytes:
        """Return the network's ONNX with a raw output, as it would ship but for NMS."""
        pictures = self.probe_pictures(1) if self.run.config.data else []
        probes = make_probes(pictures, self.spec)
        graph = build_graph(
            self.decoded(network),
            size=self.size,
            probes=probes,
            output_name=self.card.output_name,
        )
        content: bytes = graph.model.SerializeToString()
        return content

    def probe_pictures(self, count: int = PROBE_PICTURES) -> list[NDArray[np.uint8]]:
        """Return real pictures to check an export on; test pictures stay out of it."""
        pictures: Sequence[Picture] = self.sets.calibration.pictures
        return [read_picture(picture.path) for picture in pictures[:count]]
