"""Run a network from its first changed layer on: what runs before gives what it always gave.

The outputs of the outermost layers are recorded once, on all pictures. In a network that was
cut, those that run before the first cut are exchanged for players of their records.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn

from xprune.layers.candidates import Candidate
from xprune.layers.hooks import placed

Run = Callable[[nn.Module, torch.Tensor], object]

BATCH = 16
# Records beyond this many bytes are not kept; their layers run anew each time.
MOST_BYTES = 1 << 30


class Player(nn.Module):
    """Gives a layer's recorded outputs for the pictures that are being run.

    In the head of a two-stage detector they have as many rows for each picture as regions.
    """

    def __init__(self, layer: nn.Module, record: torch.Tensor, shown: Shown) -> None:
        super().__init__()
        self.record = record
        self.shown = shown
        # Ultralytics, for one, hangs the routing (`f`, `i`) on the module itself.
        for name, value in vars(layer).items():
            if not name.startswith("_") and name != "training":
                setattr(self, name, copy.deepcopy(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map whatever is given to the record of the pictures that are shown."""
        first = self.shown.start * len(self.record) // len(self.shown.images)
        return self.record[first : first + len(x)]


class Shown:
    """Which of the pictures a network is run on; they are told by their place in memory."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images
        self.start = 0

    def note(self, images: torch.Tensor) -> None:
        """Find a slice of the pictures again."""
        same = images.untyped_storage().data_ptr() == self.images.untyped_storage().data_ptr()
        offset, rest = divmod(int(images.storage_offset()), self.images[0].numel())
        assert same, "not a slice of the pictures"
        assert not rest, "not a slice of whole pictures"
        assert images.is_contiguous(), "not a slice of the pictures"
        self.start = offset


class Replay:
    """Records of an unpruned network, and networks that play them.

    Attributes:
        images: All pictures, (P, 3, H, W); networks are run on slices of them.
        records: What its layers gave for all of them, by name.
        shown: Which of them are being run.
        outermost: Layers that lie in no other, in the order in which they run.
        order: All layers, likewise.
    """

    def __init__(
        self,
        network: nn.Module,
        candidates: Sequence[Candidate],
        images: torch.Tensor,
        run: Run,
    ) -> None:
        self.network = network
        self.images = images
        self.order = [candidate.name for candidate in candidates]
        self.shown = Shown(images)
        self._run = run
        self.outermost = [c.name for c in candidates if c.parent is None]
        once = {c.name for c in candidates if len(c.output_shapes) == 1}
        records: dict[str, list[torch.Tensor]] = {n: [] for n in self.outermost if n in once}
        recording = (
            network.get_submodule(name).register_forward_hook(
                lambda module, args, output, name=name: records[name].append(output)
            )
            for name in records
        )
        with torch.no_grad(), placed(recording):
            for start in range(0, len(images), BATCH):
                run(network, images[start : start + BATCH])
        self.records = _within_memory({n: torch.cat(parts) for n, parts in records.items()})

    def run(self, network: nn.Module, images: torch.Tensor) -> object:
        """Run a network that plays records, on a slice of the pictures."""
        self.shown.note(images)
        return self._run(network, images)

    def before(self, removed: Iterable[str]) -> list[str]:
        """Return the recorded layers that end before the first of `removed` begins."""
        first = min(self.order.index(name) for name in removed)
        around = max(
            (i for i, name in enumerate(self.outermost) if self.order.index(name) <= first),
            default=0,
        )
        return [name for name in self.outermost[:around] if name in self.records]

    def playing(self, network: nn.Module, layers: Sequence[str]) -> nn.Module:
        """Return a network that plays `layers`; it shares the weights of the others."""
        memo: dict[int, object] = {id(tensor): tensor for tensor in network.parameters()}
        memo |= {id(tensor): tensor for tensor in network.buffers()}
        for name in layers:
            layer = network.get_submodule(name)
            memo[id(layer)] = Player(layer, self.records[name], self.shown)
        return copy.deepcopy(network, memo)


def _within_memory(records: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the records that fit, the smallest kept."""
    kept: dict[str, torch.Tensor] = {}
    left = MOST_BYTES
    for name in sorted(records, key=lambda name: records[name].nbytes):
        left -= records[name].nbytes
        if left < 0:
            break
        kept[name] = records[name]
    return kept
