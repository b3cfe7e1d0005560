"""Where drawn pictures go, so that nothing that a person has is overwritten."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from runtime_bench.artifact.detections import Detections
from runtime_bench.artifact.draw import draw_detections
from runtime_bench.artifact.preprocess import read_picture
from runtime_bench.errors import EdgeError, UsageError
from runtime_bench.files import write_bytes


def drawn_path(picture: Path, folder: Path) -> Path:
    """Return where the copy of a picture with its boxes goes."""
    return folder / f"{picture.stem}.boxes.png"


def check_targets(pictures: Sequence[Path], folder: Path, *, json_path: Path | None) -> None:
    """Check, before any work, that every output has a place of its own.

    Raises:
        EdgeError: If a picture is not there.
        UsageError: If an output would overwrite a picture or another output.
    """
    sources = set()
    for picture in pictures:
        if not picture.is_file():
            raise EdgeError(f"{picture}: no such picture; name picture files")
        sources.add(picture.resolve())
    targets: dict[Path, Path] = {}
    for picture in pictures:
        target = drawn_path(picture, folder).resolve()
        if target in sources:
            raise UsageError(f"{target} is a picture to read; choose another folder with --out")
        if target in targets:
            raise UsageError(
                f"{targets[target]} and {picture} would both be drawn as {target.name}; "
                "predict them one after the other, each with its own --out"
            )
        targets[target] = picture
    if json_path is not None and json_path.resolve() in sources | set(targets):
        raise UsageError(f"{json_path} is a picture; choose another file with --json")


def write_drawn(
    picture: Path, target: Path, detections: Detections, *, names: Sequence[str]
) -> None:
    """Write a copy of a picture with its boxes drawn, as PNG.

    Raises:
        EdgeError: If the picture cannot be read or the copy not be written.
    """
    buffer = io.BytesIO()
    draw_detections(read_picture(picture), detections, names).save(buffer, format="PNG")
    write_bytes(target, buffer.getvalue())
