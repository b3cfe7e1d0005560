"""Channels between two convolutions that nothing else looks at: they can be made fewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from torch import nn

from xprune.layers.reads import sole_sources

MOST_CHANNELS = 65_536
# Functions that look at each channel by itself, so that a channel in is the same channel out.
# Modules call them, and plain code does; `relu` stands for `relu_` as well.
CHANNELWISE = frozenset(
    {
        "adaptive_avg_pool2d",
        "adaptive_max_pool2d",
        "avg_pool2d",
        "celu",
        "dropout",
        "dropout2d",
        "elu",
        "gelu",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "interpolate",
        "leaky_relu",
        "max_pool2d",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "softplus",
        "tanh",
    }
)


@dataclass(frozen=True)
class Chain:
    """A convolution, what works on each of its channels alone, and the convolution that reads.

    Attributes:
        source: The name of the convolution that gives the channels.
        norms: The names of the batch normalisations in between.
        depthwise: The names of the convolutions in between that see each channel alone.
        reader: The name of the convolution that reads them.
        channels: How many they are; of a thinner copy, how many are kept.
        after: The name of the normalisation that the reader feeds and nothing else; "" if there
            is none.
    """

    source: str
    norms: tuple[str, ...]
    reader: str
    channels: int
    after: str = ""
    depthwise: tuple[str, ...] = ()

    @property
    def convolutions(self) -> tuple[str, ...]:
        """All whose multiply-adds become fewer."""
        return (self.source, *self.depthwise, self.reader)

    @property
    def modules(self) -> tuple[str, ...]:
        """All that must become thinner."""
        return (*self.convolutions, *self.norms)

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {**asdict(self), "norms": list(self.norms), "depthwise": list(self.depthwise)}


def chain_from_json(entry: object) -> Chain:
    """Return the chain that `Chain.to_json` wrote.

    Raises:
        ValueError: If the entry is of another form.
    """
    if not isinstance(entry, Mapping):
        raise ValueError("a chain")
    # Files of before depthwise convolutions were looked through lack them.
    entry = {"depthwise": [], **entry}
    if set(entry) != set(Chain.__dataclass_fields__):
        raise ValueError("a chain")
    norms, depthwise, channels = entry["norms"], entry["depthwise"], entry["channels"]
    if not isinstance(norms, list) or not isinstance(depthwise, list):
        raise ValueError("a chain's names")
    texts = [entry["source"], entry["reader"], entry["after"], *norms, *depthwise]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a chain's names")
    if type(channels) is not int or not 1 <= channels <= MOST_CHANNELS:
        raise ValueError("a chain's channels")
    return Chain(**{**entry, "norms": tuple(norms), "depthwise": tuple(depthwise)})


def find_chains(network: nn.Module, run: Callable[[], object]) -> tuple[Chain, ...]:
    """Return the chains of a network, in the order of `named_modules`.

    Args:
        network: In eval mode.
        run: Runs the network once.
    """
    modules = dict(network.named_modules())
    givers = [name for name, module in modules.items() if name and _passes(module)]
    sources = sole_sources(network, givers, givers, run, through=CHANNELWISE)
    fed = {source: name for name, source in sources.items() if _is_norm(modules.get(name))}
    chains = []
    for reader, module in modules.items():
        if not _is_plain(module) or reader not in sources:
            continue
        between = [sources[reader]]
        while _keeps_channels(modules.get(between[-1])) and between[-1] in sources:
            between.append(sources[between[-1]])
        source = modules.get(between[-1])
        if isinstance(source, nn.Conv2d) and _is_plain(source):
            norms = tuple(name for name in between if _is_norm(modules.get(name)))
            depthwise = tuple(name for name in between if is_depthwise(modules.get(name)))
            channels, after = source.out_channels, fed.get(reader, "")
            chains.append(Chain(between[-1], norms, reader, channels, after, depthwise))
    return tuple(chains)


def inside(chains: tuple[Chain, ...], layer: str) -> tuple[Chain, ...]:
    """Return the chains that lie inside a layer, their names relative to it."""
    start = f"{layer}."
    return tuple(
        Chain(
            chain.source.removeprefix(start),
            tuple(norm.removeprefix(start) for norm in chain.norms),
            chain.reader.removeprefix(start),
            chain.channels,
            chain.after.removeprefix(start) if chain.after.startswith(start) else "",
            tuple(name.removeprefix(start) for name in chain.depthwise),
        )
        for chain in chains
        if all(name.startswith(start) for name in chain.modules)
    )


def is_depthwise(module: nn.Module | None) -> bool:
    """Whether it is a convolution that gives a channel for each, and looks at no other."""
    if not isinstance(module, nn.Conv2d):
        return False
    return 1 < module.groups == module.in_channels == module.out_channels


def _keeps_channels(module: nn.Module | None) -> bool:
    return not isinstance(module, nn.Conv2d) or is_depthwise(module)


def _is_norm(module: nn.Module | None) -> bool:
    return isinstance(module, nn.BatchNorm2d) and module.running_mean is not None


def _passes(module: nn.Module) -> bool:
    return _is_norm(module) or isinstance(module, nn.Conv2d)


def _is_plain(module: nn.Module) -> bool:
    """Whether it is a convolution of one group whose zeros around the map are a number."""
    if not isinstance(module, nn.Conv2d) or isinstance(module.padding, str):
        return False
    return module.groups == 1 and module.padding_mode == "zeros"
