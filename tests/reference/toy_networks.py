"""Networks small enough for slow checks: a toy with every awkward habit, and tiny YOLOs."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import Tensor, nn

from xprune.models.families import YOLO
from xprune.models.ultralytics.catalogue import known_architecture

TOY_SIZE = (32, 40)
TOY_OUTPUTS = 5


class ConvBlock(nn.Module):
    """A convolution without bias, batch norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class Residual(nn.Module):
    """Two blocks around which the input is led."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = ConvBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class LooksTwice(nn.Module):
    """A stem, and then a head that looks at each quarter of its map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBlock(3, 6, stride=2)
        self.head = ConvBlock(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        map_ = self.stem(x)
        quarters = map_.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5)
        seen = self.head(quarters.flatten(0, 2))
        return seen.mean((2, 3)).view(len(x), -1)


class Mix(nn.Module):
    """Has weights, but takes two inputs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.conv(torch.cat([x, y], dim=1))


class Fork(nn.Module):
    """Has weights, but gives two outputs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        left, right = self.conv(x).chunk(2, dim=1)
        return left, right


class Toy(nn.Module):
    """Blocks, strides, a fork, a mix, and a tower that runs on three sizes.

    Maps (B, 3, 32, 40) to (B, 5, 104).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBlock(3, 6, stride=2)
        self.stage = nn.Sequential(Residual(6), Residual(6))
        self.down = ConvBlock(6, 8, stride=2)
        self.fork = Fork(8)
        self.mix = Mix(8)
        self.pool = nn.AvgPool2d(2)
        self.tower = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 8, 3, padding=1)
        )
        self.out = nn.Conv2d(8, TOY_OUTPUTS, 1)

    def forward(self, images: Tensor) -> Tensor:
        left, right = self.fork(self.down(self.stage(self.stem(images))))
        level = self.mix(left, right)
        outputs = []
        for _ in range(3):
            outputs.append(self.out(self.tower(level)).flatten(2))
            level = self.pool(level)
        return torch.cat(outputs, dim=2)


def settled(network: nn.Module, seed: int) -> nn.Module:
    """Return the network in eval mode, without gradients, its batch norms far from neutral."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                assert tensor is not None
                tensor.data.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return network.eval().requires_grad_(False)


def toy(*, dtype: torch.dtype = torch.float64) -> Toy:
    """Return the toy with weights of seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Toy()
    settled(network, seed=1)
    return network.to(dtype)


def noise(
    count: int, size: tuple[int, int] = TOY_SIZE, *, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Return the same `count` pictures of noise (B, 3, H, W) each time."""
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, *size, generator=generator, dtype=torch.float64).to(dtype)


def toy_losses(outputs: Tensor, first: int = 0) -> Tensor:
    """Return one loss per picture, (B,); picture `first` is the first of these outputs."""
    generator = torch.Generator().manual_seed(4)
    wanted = torch.rand(32, TOY_OUTPUTS, outputs.shape[2], generator=generator).to(outputs)
    # A fourth power: its gradient is not linear in the output.
    return (outputs - wanted[first : first + len(outputs)]).pow(4).sum(dim=(1, 2))


def tiny_architecture(name: str = "yolov8n", *, classes: int = 8) -> dict[str, Any]:
    """Return the architecture that Ultralytics ships as `name`, a quarter as wide."""
    architecture = known_architecture(name)
    depth, width, most = architecture["scales"][architecture["scale"]]
    architecture["scales"] = {"t": [depth, width / 4, most]}
    return {**architecture, "scale": "t", "nc": classes}


@functools.cache
def _tiny_yolo(name: str) -> nn.Module:
    return settled(YOLO.build_network(tiny_architecture(name), seed=0), seed=2)


def tiny_yolo(name: str = "yolov8n", *, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return a fresh copy of a tiny YOLO with random weights."""
    return copy.deepcopy(_tiny_yolo(name)).to(dtype)
