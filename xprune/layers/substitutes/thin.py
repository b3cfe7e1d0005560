"""A thinner copy of a block: fewer channels between one convolution and the next.

The channels are those whose loss the reading convolution makes up for best. With X what the
reader sees and W its weights, a set S of channels costs min |X_S V - X W|² over all V: nothing
but the reader's own output counts, not how strong a channel is. Channels go one by one, always
the one that costs least, with the reader's weights solved again in closed form after each (the
optimal brain surgeon of Hassibi and Stork 1993, a block of the kernel's places at a time).
Unlike a score of gradients it needs no loss, and in the walk of a refit it can be taken again.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from xprune.layers.chains import Chain
from xprune.layers.moments import Moments, missed_share, set_convolution
from xprune.layers.substitutes.windows import WINDOW_RIDGE

# Channels that are gone are cut out of the matrices when they are an eighth of them.
COPIED_EVERY = 8


def thin_copy(layer: nn.Module | None, chains: tuple[Chain, ...]) -> nn.Module:
    """Return a copy of `layer` with the first `chain.channels` channels of each chain.

    Which ones are kept is for `thin_out` to say, or for the weights of a checkpoint.
    """
    assert layer is not None
    thinner = copy.deepcopy(layer)
    for chain in chains:
        _keep(thinner, chain, torch.arange(chain.channels))
    return thinner


class Elimination:
    """Channels that a convolution reads go one by one; the order is found once for all widths.

    Args:
        moments: Of what the convolution sees and gives.
        reader: The convolution.
    """

    def __init__(self, moments: Moments, reader: nn.Conv2d) -> None:
        self.moments = moments
        self.places = reader.kernel_size[0] * reader.kernel_size[1]
        self.channels = reader.in_channels
        self._orders: dict[bool, list[int]] = {}
        self._costs: dict[bool, list[float]] = {}

    def missed(self, count: int, *, has_bias: bool = True) -> float:
        """Return the share of the reader's output variance that `count` channels miss.

        That of all of them is not in it.
        """
        self._let_go(count, has_bias)
        costs = self._costs[has_bias][: self.channels - count]
        mean = self.moments.means[1]
        spread = float((self.moments.outputs - self.moments.count * mean.square()).sum())
        return sum(costs) / max(spread, 1e-30)

    def keep(self, count: int, *, has_bias: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the channels to keep, ascending, and the reader's weights (I + 1, O) for them.

        Args:
            count: How many channels to keep.
            has_bias: Whether the convolution can shift its output.
        """
        self._let_go(count, has_bias)
        system, wanted = self._system(has_bias)
        gone = torch.tensor(self._orders[has_bias][: self.channels - count], dtype=torch.int64)
        stays = torch.ones(self.channels, dtype=torch.bool).index_fill(0, gone, False)
        places = stays.repeat_interleave(self.places)
        factor = torch.linalg.cholesky(system[places][:, places])
        flat = torch.zeros_like(wanted)
        flat[places] = torch.cholesky_solve(wanted[places], factor)
        x, y = self.moments.means
        shift = y - x @ flat if has_bias else torch.zeros_like(y)
        return stays.nonzero().flatten(), torch.cat([flat, shift[None]])

    def _system(self, has_bias: bool) -> tuple[torch.Tensor, torch.Tensor]:
        if has_bias:
            return self.moments.centred(WINDOW_RIDGE)
        system = self.moments.inputs[:-1, :-1].clone()
        system.diagonal().add_(self.moments.penalty(WINDOW_RIDGE))
        return system, self.moments.cross[:-1]

    def _let_go(self, count: int, has_bias: bool) -> None:
        """Find the order in which channels go, until `count` are left, unless it is known."""
        known = self._orders.get(has_bias)
        if known is not None and len(known) >= self.channels - count:
            return
        system, wanted = self._system(has_bias)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(system))
        weights = inverse @ wanted
        left = list(range(self.channels))
        order: list[int] = []
        costs: list[float] = []
        while len(left) > count:
            # Those that are gone stay as zeros for a while: to copy the rest takes longer.
            some = min(len(left) - count, max(1, len(left) // COPIED_EVERY))
            gone = _some_gone(inverse, weights, some, self.places)
            order += [left[channel] for channel, _ in gone]
            costs += [cost for _, cost in gone]
            stays = torch.ones(len(left), dtype=torch.bool)
            stays[[channel for channel, _ in gone]] = False
            left = [channel for channel, stay in zip(left, stays.tolist(), strict=True) if stay]
            places = stays.repeat_interleave(self.places)
            inverse, weights = inverse[places][:, places], weights[places]
        self._orders[has_bias], self._costs[has_bias] = order, costs


def _some_gone(
    inverse: torch.Tensor, weights: torch.Tensor, count: int, places: int
) -> list[tuple[int, float]]:
    """Let `count` channels go, in place; return which, in their order, and each one's cost."""
    size = len(inverse) // places
    by_channel = inverse.reshape(size, places, size, places)
    blocks = by_channel.diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    eye = torch.eye(places, dtype=inverse.dtype)
    alive = torch.ones(size, dtype=torch.bool)
    order: list[tuple[int, float]] = []
    for _ in range(count):
        own = torch.where(alive[:, None, None], blocks, eye)
        outputs = weights.reshape(size, places, -1)
        costs = (outputs * torch.linalg.solve(own, outputs)).sum(dim=(1, 2))
        gone = int(torch.where(alive, costs, torch.inf).argmin())
        rows = slice(gone * places, (gone + 1) * places)
        across = inverse[:, rows] @ torch.linalg.inv(own[gone])
        weights.addmm_(across, weights[rows].clone(), alpha=-1)
        inverse.addmm_(across, inverse[rows].clone(), alpha=-1)
        alive[gone] = False
        order.append((gone, float(costs[gone])))
    return order


def can_shift(layer: nn.Module, chain: Chain) -> bool:
    """Whether what reads a chain has a bias, or a normalisation after it that takes one."""
    return bool(chain.after) or layer.get_submodule(chain.reader).bias is not None


def thin_out(
    thinner: nn.Module,
    layer: nn.Module,
    chains: Sequence[Chain],
    eliminations: Sequence[Elimination],
) -> tuple[list[torch.Tensor], float]:
    """Set the weights of a thinner copy.

    Args:
        thinner: From `thin_copy`, or a network that contains such.
        layer: What it is a copy of, or the network that contains this.
        chains: Their channels are the numbers that are kept.
        eliminations: For each chain, of what its reader sees and gives in `layer`.

    Returns:
        For each chain the channels that are kept, ascending, and the largest share of the
        variance of a reader's output that is missed without the others.
    """
    solved, kept, missed = copy.deepcopy(layer), [], 0.0
    changed: dict[str, nn.Module] = {}
    for chain, elimination in zip(chains, eliminations, strict=True):
        reader = solved.get_submodule(chain.reader)
        assert isinstance(reader, nn.Conv2d)
        norm = solved.get_submodule(chain.after) if chain.after else None
        shifts = can_shift(layer, chain)
        channels, weights = elimination.keep(chain.channels, has_bias=shifts)
        shift = weights[-1]
        set_convolution(reader, weights)
        if reader.bias is None and norm is not None:
            assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None  # noqa: PT018
            norm.running_mean -= shift.to(norm.running_mean)
        kept.append(channels)
        missed = max(missed, missed_share(elimination.moments, weights))
    for chain, channels in zip(chains, kept, strict=True):
        _keep(solved, chain, channels)
        for name in (*chain.modules, *([chain.after] if chain.after else [])):
            changed[name] = solved.get_submodule(name)
    for name, module in changed.items():
        thinner.get_submodule(name).load_state_dict(module.state_dict())
    return kept, missed


def _keep(block: nn.Module, chain: Chain, kept: torch.Tensor) -> None:
    source, reader = block.get_submodule(chain.source), block.get_submodule(chain.reader)
    assert isinstance(source, nn.Conv2d) and isinstance(reader, nn.Conv2d)  # noqa: PT018
    _keep_rows(source, kept)
    source.out_channels = len(kept)
    reader.weight = nn.Parameter(reader.weight.data[:, kept].clone(), requires_grad=False)
    reader.in_channels = len(kept)
    for name in chain.depthwise:
        convolution = block.get_submodule(name)
        assert isinstance(convolution, nn.Conv2d)
        _keep_rows(convolution, kept)
        convolution.in_channels = convolution.out_channels = convolution.groups = len(kept)
    for name in chain.norms:
        norm = block.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d)
        norm.num_features = len(kept)
        _keep_rows(norm, kept)
        for field in ("running_mean", "running_var"):
            setattr(norm, field, getattr(norm, field)[kept].clone())


def _keep_rows(module: nn.Module, kept: torch.Tensor) -> None:
    for name in ("weight", "bias"):
        value = getattr(module, name)
        if value is not None:
            fewer = nn.Parameter(value.data[kept].clone(), requires_grad=False)
            setattr(module, name, fewer)
