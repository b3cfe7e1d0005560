"""What the families of torchvision's networks share; the only imports of its models."""

import reprlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from runtime_bench.errors import EdgeError

COCO_CLASSES = 90
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def models() -> Any:
    """Return `torchvision.models`; importing it takes a second, and sets a variable."""
    from torchvision import models as found

    return found


def detection() -> Any:
    """Return `torchvision.models.detection`."""
    from torchvision.models import detection as found

    return found


def coco_names(count: int) -> tuple[str, ...] | None:
    """Return torchvision's names of the classes of COCO, if there are `count` of them."""
    if count != COCO_CLASSES:
        return None
    weights = detection().RetinaNet_ResNet50_FPN_Weights.DEFAULT
    return tuple(weights.meta["categories"][1:])


def divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of each Bernoulli variable, from logits."""
    share = wanted.sigmoid()
    cross = functional.binary_cross_entropy_with_logits(logits, share, reduction="none")
    own = functional.binary_cross_entropy_with_logits(wanted, share, reduction="none")
    return cross - own


def settled(network: nn.Module) -> nn.Module:
    """Return a network in eval mode, nothing in place, no parameter asking for a gradient."""
    for module in network.modules():
        if isinstance(getattr(module, "inplace", None), bool):
            setattr(module, "inplace", False)  # noqa: B010 - not an attribute of every Module
    return network.eval().requires_grad_(False)


def check_named(
    raw: object, names: Sequence[str], *, kind: str, most: int, where: str
) -> dict[str, Any]:
    """Return a fresh copy of an architecture that is a known name and a number of classes.

    Args:
        raw: Its dictionary, from wherever; hostile until it is checked.
        names: What there is.
        kind: What an error calls one of them.
        most: The most classes.
        where: What an error names.

    Returns:
        The keys family, name and nc.

    Raises:
        EdgeError: If a key, the name or the number is another one.
    """
    if not isinstance(raw, dict) or set(raw) != {"family", "name", "nc"}:
        raise EdgeError(f"{where} is no {kind}; it needs the keys family, name and nc")
    if raw["name"] not in names:
        raise EdgeError(
            f"{where}: no {kind} is called {reprlib.repr(raw['name'])}; "
            f"there are: {', '.join(names)}"
        )
    if type(raw["nc"]) is not int or not 1 <= raw["nc"] <= most:
        raise EdgeError(f"{where}: nc is not a whole number from 1 to {most}")
    return dict(raw)
