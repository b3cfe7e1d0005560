"""The residual networks for pictures of 32 px of He et al. 2015, section 4.2 (CIFAR-10).

Three groups of n blocks with 16, 32 and 64 channels: 6n + 2 layers. Where a group halves the
map, the shortcut takes every other pixel and fills up with channels of zeros (option A), so it
has no weights. Modules are called as in the state dicts that are passed around
(`conv1`, `bn1`, `layer1.0.conv1`, …, `linear`).
"""

from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64)


class ZeroPaddedShortcut(nn.Module):
    """Every `stride`-th pixel, between as many new channels of zeros on both sides."""

    def __init__(self, added: int, stride: int) -> None:
        super().__init__()
        self.each_side, self.stride = added // 2, stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C + added, H / stride, W / stride)."""
        sides = (0, 0, 0, 0, self.each_side, self.each_side)
        return functional.pad(x[:, :, :: self.stride, :: self.stride], sides)


class Block(nn.Module):
    """Two 3x3 convolutions, and what comes in added to what they give."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        changes = stride != 1 or channels_in != channels
        self.shortcut = (
            ZeroPaddedShortcut(channels - channels_in, stride) if changes else nn.Identity()
        )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, channels, H / stride, W / stride)."""
        inner = self.relu1(self.bn1(self.conv1(x)))
        result: Tensor = self.relu2(self.bn2(self.conv2(inner)) + self.shortcut(x))
        return result


class ResNetCifar(nn.Module):
    """A residual network for small pictures.

    Args:
        depth: Of 6n + 2 layers with weights.
        classes: How many it tells apart.
    """

    def __init__(self, depth: int, classes: int) -> None:
        super().__init__()
        count, rest = divmod(depth - 2, 6)
        assert not rest, f"{depth} is not 6n + 2"
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU()
        self.layer1 = _group(WIDTHS[0], WIDTHS[0], count, stride=1)
        self.layer2 = _group(WIDTHS[0], WIDTHS[1], count, stride=2)
        self.layer3 = _group(WIDTHS[1], WIDTHS[2], count, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(WIDTHS[2], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to logits (B, classes)."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.pool(self.layer3(self.layer2(self.layer1(x))))
        result: Tensor = self.linear(x.flatten(1))
        return result


def _group(channels_in: int, channels: int, count: int, *, stride: int) -> nn.Sequential:
    first = Block(channels_in, channels, stride)
    return nn.Sequential(first, *(Block(channels, channels, 1) for _ in range(count - 1)))
