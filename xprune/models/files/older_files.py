"""What torchvision's older weight files have otherwise than its networks of today.

Its detectors were published in 2019 and 2020 with other names of some layers, and two of them
with normalisations that add nothing to the variance. torchvision itself renames as it loads,
and sets that epsilon when it fetched the file; a file at hand needs both.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

# How the SHA-256 of the files begin whose normalisations have an epsilon of 0: those that
# torchvision calls COCO_V1 of fasterrcnn_resnet50_fpn and of retinanet_resnet50_fpn.
NO_EPSILON = ("258fb6c6", "eeacb38b")
# Plain convolutions became blocks of a convolution and what may follow it.
_RENAMED: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"((?:inner|layer)_blocks\.\d+)\.(\w+)"), lambda m: f"{m[1]}.0.{m[2]}"),
    (re.compile(r"(rpn\.head\.conv)\.(\w+)"), lambda m: f"{m[1]}.0.0.{m[2]}"),
    (
        re.compile(r"((?:classification|regression)_head\.conv)\.(\d+)\.(\w+)"),
        lambda m: f"{m[1]}.{int(m[2]) // 2}.0.{m[3]}",
    ),
)


def renamed(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under the names that a network has for them today.

    Args:
        state: By the names of a file.
        wanted: By those of the network; what it knows keeps its name.
    """
    result = {}
    for name, tensor in state.items():
        result[name if name in wanted else _name_today(name, wanted)] = tensor
    return result


def _name_today(name: str, wanted: Mapping[str, Tensor]) -> str:
    for old, new in _RENAMED:
        today = old.sub(new, name, count=1)
        if today in wanted:
            return today
    return name


@torch.no_grad()
def drop_epsilon(network: nn.Module) -> None:
    """Make every batch normalisation compute what it would with an epsilon of 0, in place.

    The variance goes into the weight, so that what is left of it is 1, epsilon included: no
    setting has to be kept, and files that are made of the network need no note of it.
    """
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None:
            norm.weight.mul_(norm.running_var.double().rsqrt().to(norm.weight))
            norm.running_var.fill_(1 - norm.eps)
