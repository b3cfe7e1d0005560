"""Show how far a long loop has come: a bar on a terminal, rare lines in a log.

A loop that ends within two seconds shows nothing in a log.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sized
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")

QUIET_FIRST_S = 2.0
LINE_EVERY_S = 15.0
DRAW_EVERY_S = 0.5


def track(
    iterable: Iterable[Item],
    *,
    label: str,
    total: int | None = None,
    quiet: bool = False,
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """Yield the items of `iterable` and show the progress on the standard error output.

    Args:
        iterable: What to go through.
        label: What is being done, as a person would say it ("scoring pictures").
        total: The number of items; taken from `iterable` where it has a length.
        quiet: Show nothing.
        console: Where to show it; tests pass one that records.
        clock: A monotonic clock in seconds; tests pass a fake one.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if quiet:
        return iter(iterable)
    console = console or Console(stderr=True)
    if console.is_terminal:
        return _with_bar(iterable, label=label, total=total, console=console)
    return _with_lines(iterable, label=label, total=total, console=console, clock=clock)


@contextlib.contextmanager
def status_line(console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Yield what shows one line at the foot of a terminal; elsewhere it shows nothing.

    Args:
        console: Where to show it; tests pass one that records.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield lambda line: None
        return
    with console.status("") as status:
        # Layer names may hold brackets, which rich would take for markup.
        yield lambda line: status.update(Text(line, overflow="ellipsis", no_wrap=True))


@contextlib.contextmanager
def time_bar(
    label: str, total_s: float, *, quiet: bool = False, console: Console | None = None
) -> Iterator[Callable[[float, str], None]]:
    """Yield what shows how much of a fixed time has passed, and how it stands.

    On a terminal that is a bar with the time that is left; in a log a line from time to time.

    Args:
        label: What is being done, as a person would say it.
        total_s: Seconds it will take.
        quiet: Show nothing.
        console: Where to show it; tests pass one that records.
    """
    if quiet:
        yield lambda done_s, text: None
        return
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _time_lines(label, total_s, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    # Drawn when it is told of, not by a thread: that would run while something is timed.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task(label, total=total_s, text="")
        next_s = 0.0

        def show(done_s: float, text: str) -> None:
            nonlocal next_s
            if done_s >= next_s:
                progress.update(task, completed=done_s, text=text, refresh=True)
                next_s = done_s + DRAW_EVERY_S

        yield show


def _time_lines(label: str, total_s: float, console: Console) -> Callable[[float, str], None]:
    next_line_s = QUIET_FIRST_S

    def show(done_s: float, text: str) -> None:
        nonlocal next_line_s
        if done_s >= next_line_s:
            # Where counts alone decide, there is no time to come to.
            of_total = f" of {total_s:.0f}" if total_s > 0 else ""
            words = f", {text}" if text else ""
            line = f"{label}: {done_s:.0f}{of_total} s{words}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            next_line_s = done_s + LINE_EVERY_S

    return show


def _with_bar(
    iterable: Iterable[Item], *, label: str, total: int | None, console: Console
) -> Iterator[Item]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=total)
        for item in iterable:
            yield item
            progress.advance(task)


def _with_lines(
    iterable: Iterable[Item],
    *,
    label: str,
    total: int | None,
    console: Console,
    clock: Callable[[], float],
) -> Iterator[Item]:
    of_total = "" if total is None else f" of {total}"
    next_line_s = clock() + QUIET_FIRST_S
    for done, item in enumerate(iterable, start=1):
        yield item
        if clock() >= next_line_s:
            # Class and file names may hold brackets, which rich would take for markup.
            console.print(f"{label}: {done}{of_total}", markup=False, highlight=False)
            next_line_s = clock() + LINE_EVERY_S
