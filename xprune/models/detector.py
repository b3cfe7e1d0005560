"""A model as a value: the network, and everything needed to build it once more."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from exporters.card import Preprocessing
from runtime_bench.artifact.manifest import Task


@dataclass(frozen=True)
class Detector:
    """A network that is ready to be scored, pruned or exported.

    Most are detectors; `task` says what a network tells of a picture.

    Attributes:
        network: In eval mode, float32, on the CPU; no parameter asks for a gradient.
        name: What a person calls it: "yolov8n", "builtin", or the stem of its file.
        family: A key of `xprune.models.families.MODELS`.
        names: The class names, in the order of the network's outputs.
        stride: Height and width of an input must be multiples of it, in pixels.
        architecture: The checked dictionary from which the unpruned network is built.
        licence: Of the weights and of what is made from them, as an SPDX identifier.
        weights_sha256: Of the weights file; None for random weights.
        imgsz: The input (height, width) in pixels that the weights were made for, if known.
        plan: The substitutes that already stand in the network; empty when it is unpruned.
        task: What it tells of a picture.
        preprocessing: How pictures become inputs.
    """

    network: nn.Module
    name: str
    family: str
    names: tuple[str, ...]
    stride: int
    architecture: dict[str, Any]
    licence: str
    weights_sha256: str | None
    imgsz: tuple[int, int] | None = None
    plan: tuple[dict[str, Any], ...] = ()
    task: Task = "detect"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
