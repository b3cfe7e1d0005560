"""What the families of torchvision's networks share; the only imports of its models."""

from typing import Any

from torch import nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def models() -> Any:
    """Return `torchvision.models`; importing it takes a second, and sets a variable."""
    from torchvision import models as found

    return found


def detection() -> Any:
    """Return `torchvision.models.detection`."""
    from torchvision.models import detection as found

    return found


def settled(network: nn.Module) -> nn.Module:
    """Return a network in eval mode, nothing in place, no parameter asking for a gradient."""
    for module in network.modules():
        if isinstance(getattr(module, "inplace", None), bool):
            setattr(module, "inplace", False)  # noqa: B010 - not an attribute of every Module
    return network.eval().requires_grad_(False)
