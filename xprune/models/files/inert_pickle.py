"""Read the tensors and plain values of a PyTorch file without ever calling what it names.

Unpickling calls whatever a file names, with arguments from the file. PyTorch's `weights_only`
and Ultralytics' `safe_only` restrict the names, but still call the classes on their lists; one
of Ultralytics' loads a second file, unrestricted. Here every class of a file becomes an `Inert`
object, which only keeps what was stored in it; tensors are built from their bytes.
"""

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime_bench.errors import EdgeError

MAX_PICKLE_BYTES = 64 * 2**20
# What `torch.save` of before 1.6 begins with; torchvision's older weights do.
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
DAMAGE = "the file is damaged or was not completely copied; get it anew"
# What malformed bytes make the unpickler, the zip reader and torch raise.
READ_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


class Inert:
    """What stands for an object of a class that the file names: its state, and no behaviour."""

    def __init__(self, *arguments: object, **_: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: object) -> None:
        """Keep the attributes that were pickled."""
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.__dict__.update({k: v for k, v in part.items() if isinstance(k, str)})

    def __setitem__(self, key: object, value: object) -> None:
        """Swallow an item of a dictionary class."""

    def append(self, value: object) -> None:
        """Swallow an item of a list class."""

    def extend(self, values: object) -> None:
        """Swallow items of a list class."""

    def add(self, value: object) -> None:
        """Swallow an item of a set class."""


def read_torch_file(path: Path) -> Any:
    """Return what a file of `torch.save` holds: plain values, CPU tensors and `Inert` objects.

    Args:
        path: A zip archive as PyTorch writes them since version 1.6.

    Raises:
        EdgeError: If the file is missing, of another kind, damaged, or asks for memory that its
            size does not justify.
    """
    _check_kind(path)
    try:
        if _is_legacy(path):
            # It is one pickle after another with raw storages between them. PyTorch's own
            # reader for it builds tensors and plain containers, and refuses every other name.
            return torch.load(path, map_location="cpu", weights_only=True)
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, path.stat().st_size)
    except _RefusedError as refusal:
        raise EdgeError(f"{path}: {refusal}") from None
    except READ_ERRORS as error:
        raise EdgeError(f"{path} cannot be read as PyTorch weights: {DAMAGE}") from error


class _RefusedError(Exception):
    """Why a file is not read."""


def _is_legacy(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(LEGACY_START)) == LEGACY_START


def _check_kind(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise EdgeError(f"{path} cannot be opened ({error.strerror}); check the path") from None
    if start.startswith((b"PK\x03\x04", LEGACY_START)):
        return
    lowered = start.lstrip().lower()
    if not start:
        reason = "is empty; get the weights anew"
    elif lowered.startswith((b"<!doctype", b"<html", b"<?xml")):
        reason = "is a web page, not weights; download the file itself"
    elif start.startswith(b"version https://git-lfs"):
        reason = "is a git-lfs pointer, not the weights; run 'git lfs pull'"
    elif start[:1] == b"\x80":
        reason = (
            "is a plain pickle, which is not read; save it anew with torch.save of a current"
            " PyTorch"
        )
    else:
        reason = f"is no PyTorch weights file (it starts with {start[:8]!r}); {DAMAGE}"
    raise EdgeError(f"{path} {reason}")


def _read_archive(archive: zipfile.ZipFile, size_bytes: int) -> Any:
    entries = {entry.filename: entry for entry in archive.infolist()}
    roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise _RefusedError("is a zip file, but not of torch.save; give the weights file")
    root = roots[0]
    if f"{root}constants.pkl" in entries:
        raise _RefusedError("is a TorchScript archive; give the original .pt weights")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise _RefusedError(
            "is a compressed zip file, which torch.save never writes; " + DAMAGE
        )
    if sum(entry.file_size for entry in entries.values()) > size_bytes:
        raise _RefusedError("claims to hold more than its size; " + DAMAGE)
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise _RefusedError("was saved on a big-endian machine; save it anew on a common one")
    if entries[f"{root}data.pkl"].file_size > MAX_PICKLE_BYTES:
        raise _RefusedError(f"has a pickle of over {MAX_PICKLE_BYTES} bytes; " + DAMAGE)
    data = archive.read(f"{root}data.pkl")
    _check_memo(data)
    return _Reader(io.BytesIO(data), lambda key: archive.read(f"{root}data/{key}")).load()


def _check_memo(data: bytes) -> None:
    # The C unpickler reserves memory for the highest memo number, before anything is stored.
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "LONG_BINPUT") and int(str(argument)) > len(data):
            raise _RefusedError("asks for more memory than it can use; " + DAMAGE)


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, read_bytes: Callable[[str], bytes]) -> None:
        super().__init__(file, encoding="utf-8")
        self.read_bytes = read_bytes
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in CALLABLES:
            return _Callable(CALLABLES[module, name])
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        return type(name.rpartition(".")[2], (Inert,), {"__module__": module})

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError("a storage is described in an unknown way")
        if key not in self.storages:
            data = bytearray(self.read_bytes(key))
            flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            if len(flat) != count:
                raise pickle.UnpicklingError("a storage has not the size that it should have")
            self.storages[key] = flat
        return self.storages[key]


class _Callable:
    """One of our functions, which a file may call but not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a function cannot have a state")


def _tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
    if not isinstance(storage, Tensor) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor is described in an unknown way")
    if min((offset, *size, *stride), default=0) < 0 or math.prod(size) > max(len(storage), 1):
        raise pickle.UnpicklingError("a tensor is larger than its storage")
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


STORAGES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}
CALLABLES: dict[tuple[str, str], Callable[..., Any]] = {
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
