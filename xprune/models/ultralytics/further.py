"""Hand a pruned network to Ultralytics for further training, and take it back.

Import Ultralytics before this package in such a program: imported by this package, it refuses
to read pickles, also those that its own trainer writes.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from runtime_bench.errors import EdgeError
from xprune.models.detector import Detector
from xprune.models.ultralytics.upstream import part


def ultralytics_trainer(detector: Detector) -> type[Any]:
    """Return Ultralytics' DetectionTrainer that trains this network and not one of its own.

    What `YOLO("yolov8n.yaml").train(trainer=ultralytics_trainer(detector), data=...)` trains is
    a copy of the detector's network, substitutes and thinner blocks in it.

    Args:
        detector: From `load_detector`, such as a run's `pruned.safetensors`.
    """

    class Trainer(part("models.yolo.detect", "DetectionTrainer")):  # type: ignore[misc]
        def get_model(self, *args: object, **options: object) -> nn.Module:
            """Return a copy of the network, ready to be trained."""
            if self.data["nc"] != len(detector.names):
                raise EdgeError(
                    f"{self.args.data} has {self.data['nc']} classes, and {detector.name} "
                    f"{len(detector.names)}; train on data with the classes of the model"
                )
            return _trainable(detector.network)

    return Trainer


class UnfusedBlock(nn.Module):
    """Ultralytics' convolution block by another name, so that it is left as it is.

    Before it validates, Ultralytics folds the normalisation of each of its blocks into the
    convolution, and fails where a substitute stands in place of that.
    """

    conv: nn.Module
    bn: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """Return what Ultralytics' block returns."""
        result: Tensor = self.act(self.bn(self.conv(x)))
        return result


def _trainable(network: nn.Module) -> nn.Module:
    """Return a copy of a network that Ultralytics can train, validate and save."""
    copied = copy.deepcopy(network).requires_grad_(True)
    block = part("nn.modules.conv", "Conv")
    for module in copied.modules():
        if isinstance(module, block) and not isinstance(module.conv, nn.Conv2d):
            module.__class__ = UnfusedBlock
    return copied


def trained_detector(detector: Detector, trained: nn.Module) -> Detector:
    """Return the detector with the weights that a training left, to be saved or exported.

    Args:
        detector: The one whose network was trained.
        trained: What Ultralytics returns, `YOLO(...).model` after `train`.

    Raises:
        EdgeError: If it is another network.
    """
    network = copy.deepcopy(detector.network)
    state = {name: value.float() for name, value in trained.state_dict().items()}
    wanted = network.state_dict()
    if state.keys() != wanted.keys() or any(
        state[name].shape != value.shape for name, value in wanted.items()
    ):
        raise EdgeError(
            f"what was trained is not the network of {detector.name}; "
            "give the trainer of `ultralytics_trainer` to `train`"
        )
    network.load_state_dict(state)
    return replace(detector, network=network, weights_sha256=None)
