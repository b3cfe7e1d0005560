"""A table in Markdown, of texts that may come from anywhere."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; no text can end its cell or be read as HTML."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(plain, line)) + " |" for line in lines)


def plain(text: object) -> str:
    """Return a text that cannot end a cell of a Markdown table or be read as HTML."""
    return str(text).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
