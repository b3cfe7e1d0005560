"""Hooks on a network's layers that undo themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch.utils.hooks import RemovableHandle


@contextmanager
def placed(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Keep hooks for the length of a `with` block; `handles` is read when it begins."""
    kept = list(handles)
    try:
        yield
    finally:
        for handle in kept:
            handle.remove()
