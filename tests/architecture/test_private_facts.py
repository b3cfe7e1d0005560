"""The repository names no path of anyone's machine and no address of a package registry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# In pieces, so that this file does not name them either.
PRIVATE = {
    "a home folder": r"(?<![\w.])/(?:ho" + r"me|Us" + r"ers)/\w|(?<![\w.])/ro" + r"ot/",
    "a work folder": r"(?<![\w.])/wo" + r"rk/",
    "a package registry": r"python"
    + r"hosted|pyp"
    + r"i\.org|registry\.np"
    + r"mjs|deb\.deb"
    + r"ian",
    "the data folder": r"sha" + r"red/data",
}
MAY_NAME = {"the data folder": {Path(".ci/run")}}
GENERATED = {
    ".git",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "build",
    "dist",
    "predictions",
    "runs",
}


def _texts(root: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(root.iterdir()):
        if path.name in GENERATED:
            continue
        if path.is_dir():
            yield from _texts(path)
            continue
        try:
            yield path, path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # pictures and weights


@pytest.mark.parametrize("what", PRIVATE)
def test_no_file_names_it(what: str, repository: Path) -> None:
    """No text file names it, but for the few that must."""
    naming = {
        path.relative_to(repository)
        for path, text in _texts(repository)
        if re.search(PRIVATE[what], text)
    }

    assert naming - MAY_NAME.get(what, set()) == set()


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a home folder", "weights = '/ho" + "me/ann/yolov8n.pt'"),
        ("a work folder", "cd /wo" + "rk/here"),
        ("a package registry", "https://files.python" + "hosted.org/torch.whl"),
        ("the data folder", "../sha" + "red/data/coco_val"),
    ],
)
def test_a_private_fact_is_found(what: str, text: str) -> None:
    """Each pattern finds an example of what it is for."""
    assert re.search(PRIVATE[what], text)


def test_a_relative_path_is_no_private_fact() -> None:
    """A folder inside a run may have the same name."""
    assert not re.search(PRIVATE["a work folder"], "runs/wo" + "rk/plan.json")
