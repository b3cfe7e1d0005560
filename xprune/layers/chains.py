"""Channels between two convolutions that nothing else looks at: they can be made fewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from torch import nn

from xprune.layers.activations import ELEMENTWISE
from xprune.layers.reads import sole_sources

MOST_CHANNELS = 65_536


@dataclass(frozen=True)
class Chain:
    """A convolution, what works on each of its channels alone, and the convolution that reads.

    Attributes:
        source: The name of the convolution that gives the channels.
        norms: The names of the batch normalisations in between.
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

    @property
    def modules(self) -> tuple[str, ...]:
        """All that must become thinner."""
        return (self.source, *self.norms, self.reader)

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {**asdict(self), "norms": list(self.norms)}


def chain_from_json(entry: object) -> Chain:
    """Return the chain that `Chain.to_json` wrote.

    Raises:
        ValueError: If the entry is of another form.
    """
    if not isinstance(entry, Mapping) or set(entry) != set(Chain.__dataclass_fields__):
        raise ValueError("a chain")
    norms, channels = entry["norms"], entry["channels"]
    texts = [entry["source"], entry["reader"], entry["after"]]
    if not isinstance(norms, list) or not all(isinstance(text, str) for text in texts + norms):
        raise ValueError("a chain's names")
    if type(channels) is not int or not 1 <= channels <= MOST_CHANNELS:
        raise ValueError("a chain's channels")
    return Chain(entry["source"], tuple(norms), entry["reader"], channels, entry["after"])


def find_chains(network: nn.Module, run: Callable[[], object]) -> tuple[Chain, ...]:
    """Return the chains of a network, in the order of `named_modules`.

    Args:
        network: In eval mode.
        run: Runs the network once.
    """
    modules = dict(network.named_modules())
    givers = [name for name, module in modules.items() if name and _passes(module)]
    sources = sole_sources(network, givers, givers, run)
    fed = {source: name for name, source in sources.items() if _is_norm(modules[name])}
    chains = []
    for reader, module in modules.items():
        if not _is_plain(module) or reader not in sources:
            continue
        between = [sources[reader]]
        while not isinstance(modules[between[-1]], nn.Conv2d) and between[-1] in sources:
            between.append(sources[between[-1]])
        source = modules[between[-1]]
        if isinstance(source, nn.Conv2d) and _is_plain(source):
            norms = tuple(name for name in between if _is_norm(modules[name]))
            channels, after = source.out_channels, fed.get(reader, "")
            chains.append(Chain(between[-1], norms, reader, channels, after))
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
        )
        for chain in chains
        if all(name.startswith(start) for name in chain.modules)
    )


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d) and module.running_mean is not None


def _passes(module: nn.Module) -> bool:
    return _is_norm(module) or isinstance(module, (*ELEMENTWISE, nn.Conv2d))


def _is_plain(module: nn.Module) -> bool:
    """Whether it is a convolution of one group whose zeros around the map are a number."""
    if not isinstance(module, nn.Conv2d) or isinstance(module.padding, str):
        return False
    return module.groups == 1 and module.padding_mode == "zeros"
