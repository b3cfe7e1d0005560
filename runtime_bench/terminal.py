"""Show tables on a terminal. What is heavy is imported when there is one to show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def show_table(rows: Iterable[tuple[str, str]]) -> None:
    """Show names and what they stand for."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name, style="bold"), Text(value))  # Text: brackets are no markup
    Console().print(table)


def show_columns(lines: Sequence[Sequence[str]]) -> None:
    """Show a table; the first line heads it, and only the first column may be folded."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(lines[0]):
        table.add_column(name, overflow="fold", no_wrap=index > 0)
    for line in lines[1:]:
        table.add_row(*(Text(cell) for cell in line))  # Text: brackets are no markup
    Console().print(table)
