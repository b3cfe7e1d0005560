"""Files that appear complete or not at all, and errors that name them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from runtime_bench.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARTIAL = re.compile(r"^\..+\.partial-(\d+)(-old)?$")

_ADVICE = {
    errno.ENOSPC: "free some space or choose another place",
    errno.EDQUOT: "free some space or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose a place that you may write",
    errno.EPERM: "choose a place that you may write",
    errno.ENOTDIR: "one of its parent folders is a file",
    errno.EISDIR: "a folder has that name",
}

# Errors that are about the place as a whole, whichever file they were met at.
_OF_THE_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})

_CHUNK_BYTES = 1 << 20


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` so that `path` is either complete or untouched, even after a power cut.

    Missing parent folders are made.

    Raises:
        EdgeError: If the file cannot be written (disk full, read-only, no permission).
    """
    temporary = _partial_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError):
            raise write_error(path, error) from error
        raise
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON; see `write_bytes`. NaN and infinity are not JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name that is no valid UTF-8 holds lone surrogates; written as \udc80 they are JSON.
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def read_json(path: Path) -> object:
    """Return what the JSON file holds; NaN and infinity are refused, since they are not JSON.

    Raises:
        EdgeError: If the file is missing, unreadable, or not JSON (with line and column).
    """
    try:
        return json.loads(
            path.read_bytes().decode("utf-8-sig"), parse_constant=_refuse_constant
        )
    except OSError as error:
        raise _read_error(path, error) from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise EdgeError(f"'{path}' is not valid JSON: {error.msg} at {where}") from error
    except UnicodeDecodeError as error:
        raise EdgeError(f"'{path}' is not UTF-8 text (byte {error.start})") from error
    except RecursionError:
        raise EdgeError(f"'{path}' is nested too deeply to be read") from None
    except ValueError as error:
        raise EdgeError(f"'{path}' is not valid JSON: {error}") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        EdgeError: If the file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise _read_error(path, error) from error
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that becomes `path` if the block succeeds.

    A folder that is already called `path` is replaced as a whole; on any error it stays as it
    was, and the new one is removed.

    Raises:
        EdgeError: If `path` is a file, or the place is full or cannot be written.
    """
    path = path.absolute()
    if path.exists() and not path.is_dir():
        raise EdgeError(f"'{path}' is a file; a folder is to be written there: remove it first")
    temporary = _partial_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        temporary.mkdir()
    except OSError as error:
        raise write_error(path, error) from error
    try:
        yield temporary
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError) and error.errno in _OF_THE_PLACE:
            raise write_error(path, error) from error
        raise
    _put_in_place(temporary, path)


def remove_leftovers(folder: Path) -> None:
    """Remove what runs that were killed left in `folder`: partial files of dead processes."""
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        found = _PARTIAL.match(entry.name)
        if found and not is_alive(int(found.group(1))):
            _remove(entry)


def _put_in_place(temporary: Path, path: Path) -> None:
    old = temporary.with_name(temporary.name + "-old")
    try:
        if path.exists():
            _remove(old)
            path.rename(old)
        temporary.rename(path)
    except OSError as error:
        if old.exists() and not path.exists():
            old.rename(path)
        _remove(temporary)
        raise write_error(path, error) from error
    _remove(old)
    _sync_folder(path.parent)


def _partial_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial-{os.getpid()}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _sync_folder(folder: Path) -> None:
    # Some file systems refuse to sync a folder; the rename itself has happened all the same.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs, whoever's it is."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_error(path: Path, error: OSError) -> EdgeError:
    """Return the error of a file that cannot be written, in words."""
    return EdgeError(f"cannot write '{path}': {_cause(error)}")


def _read_error(path: Path, error: OSError) -> EdgeError:
    if isinstance(error, FileNotFoundError):
        return EdgeError(f"'{path}' does not exist")
    cause = (error.strerror or str(error)).lower()
    return EdgeError(f"cannot read '{path}': {cause}")


def _cause(error: OSError) -> str:
    cause = (error.strerror or str(error)).lower()
    advice = _ADVICE.get(error.errno or 0)
    return f"{cause}; {advice}" if advice else cause


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON number")
