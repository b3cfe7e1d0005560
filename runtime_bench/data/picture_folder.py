"""Read a plain folder of pictures: no classes, no boxes, only what a camera left."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

from PIL import Image

from runtime_bench.artifact.preprocess import _open_image
from runtime_bench.data.pictures import PICTURE_SUFFIXES, BoxList, Dataset, FaultLog, Picture
from runtime_bench.errors import EdgeError

EXIF_ORIENTATION = 0x0112


def read_folder(folder: Path, faults: FaultLog) -> Dataset:
    """Read the pictures that lie directly in `folder`, in the order of their names.

    Raises:
        EdgeError: If there is none, or one of them is none of its kind.
    """
    paths = list_pictures(folder, recursive=False)
    if not paths:
        raise EdgeError(
            f"{folder}: no picture lies directly in this folder ({_found(folder)}); "
            f"pass a folder of {', '.join(PICTURE_SUFFIXES)} files, a COCO .json or a .yaml"
        )
    pictures = []
    for path in paths:
        size = header_size(path, faults)
        if size is not None:
            pictures.append(Picture(path.name, path, size, *BoxList().arrays()))
    return Dataset(str(folder), (), tuple(pictures), False, tuple(faults.skipped))


def list_pictures(folder: Path, *, recursive: bool) -> list[Path]:
    """Return the files that are pictures by their names, sorted; hidden ones are left out."""
    try:
        found = sorted(folder.rglob("*") if recursive else folder.iterdir())
    except OSError as error:
        raise EdgeError(
            f"{folder}: cannot be listed ({error.strerror}); check access"
        ) from None
    return [
        path
        for path in found
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    ]


def header_size(path: Path, faults: FaultLog) -> tuple[int, int] | None:
    """Return (height, width) in pixels from the file's header, or report a fault."""
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            # Of odd metadata; what matters is found when the picture is decoded.
            warnings.simplefilter("ignore")
            header = _open_image(file)
            turned = header.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except FileNotFoundError:
        faults.report(path, "no such picture")
    except Image.DecompressionBombError:
        faults.report(path, "a picture too large to be read safely")
    except EdgeError as error:
        faults.report(path, str(error))
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        # Pillow's readers raise all of these on a damaged header.
        faults.report(path, f"a damaged picture ({error})")
    else:
        width, height = header.size
        return (width, height) if turned else (height, width)
    return None


def _found(folder: Path) -> str:
    entries = list(folder.iterdir())
    folders = sum(entry.is_dir() for entry in entries)
    return f"{len(entries) - folders} other files, {folders} folders"
