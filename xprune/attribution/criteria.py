"""The criteria by name. The lower a layer's score, the sooner it goes.

g is the gradient of the training loss at the layer's output y, r what would stand in the
layer's place; sums run over the elements of y, means over pictures.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from runtime_bench.errors import EdgeError
from xprune.attribution.gates import GateMoments

# Scores that one backward pass gives, one value for each picture, without a substitute...
ACTIVATION: dict[str, Callable[[GateMoments], torch.Tensor]] = {
    "grad_act": lambda gate: gate.activation_abs,  # Σ|g·y|; arXiv 2602.14040
    "grad_act_mean": lambda gate: gate.activation_abs / gate.elements,
}
# ... and against one: how much the loss is expected to move when r takes the layer's place.
REMOVAL: dict[str, Callable[[GateMoments, str], torch.Tensor]] = {
    "removal": lambda gate, r: gate.removal_abs[r],  # Σ|g·(y-r)|
    # Σ g·(r-y), the first-order rise of the loss; Molchanov et al. 2017, with r in place of 0.
    "removal_signed": lambda gate, r: -gate.removal_sum[r],
    "fisher": lambda gate, r: gate.removal_sum[r] ** 2,  # (Σ g·(y-r))²; Theis et al. 2018
}
# Scores of the weights alone: no picture is looked at.
WEIGHTS: dict[str, Callable[[nn.Module], float]] = {
    "l1": lambda layer: sum(float(weight.abs().sum()) for weight in _kernels(layer)),
    "l1_mean": lambda layer: (
        sum(float(weight.abs().sum()) for weight in _kernels(layer))
        / max(1, sum(weight.numel() for weight in _kernels(layer)))
    ),
}
RANDOM = "random"  # uniform in [0, 1), from the seed: the control
ABLATION = "ablation"  # close the gate and look: the rise of the loss itself, the oracle
DIVERGENCE = "divergence"  # the same, but how far the outputs move, and for the best alone
# What takes looks of its own, and is made only where it is asked for.
ON_REQUEST = (ABLATION, DIVERGENCE)
SHORTLIST = "fisher"  # whose best ones are looked at for `divergence`

CRITERIA: dict[str, str] = {
    "grad_act": "Σ|gradient × output|, the seed paper's score",
    "grad_act_mean": "the same for each element, so that large maps have no advantage",
    "removal": "Σ|gradient × (output − substitute)|",
    "removal_signed": "first-order rise of the loss when the substitute takes over",
    "fisher": "mean over pictures of (Σ gradient × (output − substitute))²",
    "l1": "Σ|weight|, the seed paper's baseline",
    "l1_mean": "mean |weight|",
    RANDOM: "a random number from the seed",
    DIVERGENCE: "how far the outputs move with the substitute in place, measured for what "
    "fisher finds best and estimated for the rest",
    ABLATION: "rise of the loss with the substitute in place, measured layer by layer (slow)",
}


def check_criterion(name: str) -> str:
    """Return `name` if there is such a criterion.

    Raises:
        EdgeError: If there is none; the message lists those there are.
    """
    if name not in CRITERIA:
        raise EdgeError(f"no criterion is called '{name}'; there are: {', '.join(CRITERIA)}")
    return name


def needs_substitute(criterion: str) -> bool:
    """Whether the score depends on what takes the layer's place."""
    return criterion in REMOVAL or criterion in ON_REQUEST


def _kernels(layer: nn.Module) -> list[torch.Tensor]:
    """Return the convolution and linear weights; biases and normalisations are left out."""
    return [weight for weight in layer.parameters() if weight.ndim > 1 and weight.numel() > 1]
