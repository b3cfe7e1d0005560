"""One layer and what takes its place, as a value."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from xprune.layers.chains import Chain


@dataclass(frozen=True)
class Replacement:
    """One layer and what takes its place, in full: enough to rebuild the structure alone.

    Attributes:
        layer: The module's path in the network.
        substitute: A key of `SUBSTITUTES`.
        in_channels: Channels of the layer's input.
        out_channels: Channels of its output.
        stride: Input pixels for one output pixel, vertically and horizontally.
        kernel: Rows and columns that an output pixel sees, both odd.
        inner_channels: Channels between the two convolutions of a substitute that has two.
        chains: Of a thinner copy: what becomes thinner, and how many channels are kept.
        bias: Whether a linear map may shift its output.
    """

    layer: str
    substitute: str
    in_channels: int
    out_channels: int
    stride: tuple[int, int] = (1, 1)
    kernel: tuple[int, int] = (1, 1)
    inner_channels: int = 0
    chains: tuple[Chain, ...] = ()
    bias: bool = True

    def to_json(self) -> dict[str, object]:
        """Return plain values for a checkpoint's metadata."""
        return {
            **asdict(self),
            "stride": list(self.stride),
            "kernel": list(self.kernel),
            "chains": [chain.to_json() for chain in self.chains],
        }
