"""Find what our rules forbid in a piece of Python source; each finding is one line of text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("xprune", "exporters", "runtime_bench")

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def python_files(*folders: str) -> list[Path]:
    """Return all Python files under some folders of the repository, sorted."""
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def findings(check: str, files: list[Path]) -> list[str]:
    """Apply one of `CHECKS` to files; a finding begins with the file it is in."""
    return [
        f"{file.relative_to(ROOT)}: {finding}"
        for file in files
        for finding in CHECKS[check](file.read_text("utf-8"))
    ]


def without_idea(source: str) -> Iterator[str]:
    """A module must begin with a docstring whose first line is its one idea."""
    docstring = ast.get_docstring(ast.parse(source))
    if not docstring or not docstring.splitlines()[0].strip():
        yield "does not begin by saying its idea"


def too_long(source: str) -> Iterator[str]:
    """Files and functions have a hard limit above the usual length."""
    lines = len(source.splitlines())
    if lines > MAX_FILE_LINES:
        yield f"{lines} lines; split it by idea (at most {MAX_FILE_LINES})"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{node.name} has {length} lines (at most {MAX_FUNCTION_LINES})"


def early_ultralytics(source: str) -> Iterator[str]:
    """Ultralytics is AGPL and slow to import: only functions import it, when they run."""
    for node in _run_on_import(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        if any(name.partition(".")[0] == "ultralytics" for name in names):
            yield f"line {node.lineno} imports ultralytics when the module is imported"


def swallowed_errors(source: str) -> Iterator[str]:
    """A handler for all errors must raise again; to go on hides what is broken."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ExceptHandler) or not _catches_all(node):
            continue
        if not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
            yield f"line {node.lineno} catches every error and goes on"


CHECKS = {
    "idea": without_idea,
    "length": too_long,
    "ultralytics": early_ultralytics,
    "errors": swallowed_errors,
}


def _run_on_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield from _run_on_import(node)


def _catches_all(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(kind) in {"Exception", "BaseException"} for kind in caught)
