"""Tell of a benchmark that was killed: nobody is left to tell it then, so the next one does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from runtime_bench.files import is_alive, write_text
from runtime_bench.machine.cgroups import memory_limit
from runtime_bench.machine.kernel_files import ROOT
from runtime_bench.machine.readings import memory_available

MARK = ".measuring-"


@contextlib.contextmanager
def marked(
    out: Path | None, *, say: Callable[[str], None], root: Path = ROOT
) -> Iterator[None]:
    """Leave a mark beside a result while it is measured; tell of the mark of a killed one.

    Args:
        out: Where the result will go; None for nowhere, and then there is no mark.
        say: Tells a person, in one line.
        root: Where `proc` and `sys` are; tests pass a made-up tree.

    Raises:
        EdgeError: If the folder of `out` cannot be written.
    """
    if out is None:
        yield
        return
    for old in _marks_of(out):
        memory = _first_line(old)
        say(
            f"The last benchmark into '{out.name}' was killed, or lost power. {memory} If that "
            "was too little: a smaller input, fewer --threads, or a larger limit."
        )
        old.unlink(missing_ok=True)
    mark = out.with_name(f".{out.name}{MARK}{os.getpid()}")
    write_text(mark, _memory_text(root) + "\n")
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _marks_of(out: Path) -> list[Path]:
    """Return the marks that processes left which are no more."""
    if not out.parent.is_dir():
        return []
    start = f".{out.name}{MARK}"
    found = []
    for path in sorted(out.parent.iterdir()):
        number = path.name.removeprefix(start)
        if path.name != number and number.isdecimal() and not is_alive(int(number)):
            found.append(path)
    return found


def _memory_text(root: Path) -> str:
    left, limit = memory_available(root), memory_limit(root)
    if left is None:
        return "How much memory it had is not known."
    within = "" if limit is None else f", within a limit of {limit / 1e6:.0f} MB"
    return f"The machine had {left / 1e6:.0f} MB of memory left when it began{within}."


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return " ".join(lines[:1])[:200]
