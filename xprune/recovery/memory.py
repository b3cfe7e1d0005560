"""What was computed of views of pictures is kept as long as there is room."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

# Tensors by name: of one picture, and of several, (B, ...).
Entry = dict[str, Tensor]
Batch = dict[str, Tensor]


class Memory:
    """For each picture, what was computed of the view that was last taken of it.

    Tensors of 32 bits are kept in 16.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._room = limit_bytes
        self._kept: dict[int, tuple[Hashable, Entry]] = {}

    def get(self, picture: int, view: Hashable) -> Entry | None:
        """Return what was computed of a view; None if that is not known any more."""
        known, entry = self._kept.get(picture, (None, None))
        return entry if known == view else None

    def put(self, picture: int, view: Hashable, entry: Entry) -> None:
        """Keep what was computed of a view, in place of the picture's last one."""
        if picture in self._kept:
            self._room += _bytes(self._kept.pop(picture)[1])
        if _bytes(entry) <= self._room:
            self._room -= _bytes(entry)
            self._kept[picture] = (view, entry)


def taken_apart(batch: Batch) -> list[Entry]:
    """Return what each picture of a batch has of tensors (B, ...)."""
    halved = {name: _halved(value) for name, value in batch.items()}
    count = len(next(iter(halved.values())))
    # Copies: a view would hold the memory of the whole batch.
    return [{n: value[index].clone() for n, value in halved.items()} for index in range(count)]


def put_together(entries: Sequence[Entry]) -> Batch:
    """Return tensors (B, ...) of what several pictures have."""
    names = entries[0].keys()
    return {name: _widened(torch.stack([entry[name] for entry in entries])) for name in names}


def _halved(value: Tensor) -> Tensor:
    return value.half() if value.dtype == torch.float32 else value


def _widened(value: Tensor) -> Tensor:
    wide = value.float() if value.dtype == torch.float16 else value
    return wide.contiguous(memory_format=torch.channels_last) if wide.ndim == 4 else wide


def _bytes(entry: Entry) -> int:
    return sum(value.nbytes for value in entry.values())
