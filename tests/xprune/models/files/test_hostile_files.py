"""A weights file is read, never run: attacks, damage and files of other kinds."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime_bench.errors import EdgeError
from xprune.models.files.inert_pickle import Inert, read_torch_file
from xprune.models.load import load_detector
from xprune.models.ultralytics.upstream import part


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def attacks(made: Path) -> dict[str, Any]:
    """Payloads that make the file `made` when they are run."""
    return {
        "in a model": {"model": Call(os.mknod, str(made))},
        "in a state dict": {"model.0.conv.weight": Call(os.mknod, str(made))},
        "in the names": {"state_dict": {}, "names": Call(os.mknod, str(made))},
        "by exec": {"ema": Call(exec, f"import os; os.mknod({str(made)!r})")},
        "at the top": Call(os.mknod, str(made)),
    }


@pytest.mark.parametrize("name", attacks(Path()))
def test_a_pickle_never_runs_code(tmp_path, name):
    """The file is refused in one line, and what it wanted to make is not there."""
    path, made = tmp_path / "evil.pt", tmp_path / "made"
    torch.save(attacks(made)[name], path)

    with pytest.raises(EdgeError, match=r"evil\.pt") as error:
        load_detector(str(path))

    assert not made.exists()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", attacks(Path()))
def test_the_attacks_are_real(tmp_path, name):
    """The twin of the test above: PyTorch's unrestricted load makes the file."""
    path, made = tmp_path / "evil.pt", tmp_path / "made"
    torch.save(attacks(made)[name], path)

    torch.load(path, weights_only=False)

    assert made.exists()


def test_a_class_that_loads_another_file_is_not_called(tmp_path):
    """Ultralytics' restricted load calls its distillation model, which loads a second file."""
    first, second, made = (tmp_path / name for name in ("first.pt", "second.pt", "made"))
    torch.save({"model": Call(os.mknod, str(made))}, second)
    student = part("utils", "IterableSimpleNamespace")(yaml={})
    teacher = Call(part("nn.distill_model", "DistillationModel"), str(second), student)
    torch.save({"model": teacher}, first)

    with pytest.raises(EdgeError, match="holds a DistillationModel"):
        load_detector(str(first))

    assert not made.exists()


def test_an_activation_in_a_checkpoint_is_not_run(tmp_path, ultralytics_checkpoint):
    """The `yaml` of a pickled model goes through the same check as a YAML file."""
    made = tmp_path / "made"
    content = torch.load(ultralytics_checkpoint, weights_only=False)
    content["ema"].yaml["activation"] = f"open({str(made)!r}, 'w')"
    torch.save(content, ultralytics_checkpoint)

    with pytest.raises(EdgeError, match=r"activation .* is not allowed"):
        load_detector(str(ultralytics_checkpoint))

    assert not made.exists()


def archive_of(path: Path, data: bytes, *, compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip file like those of torch.save around the bytes of a pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
    return path


# GLOBAL pushes one of our own functions or classes; BUILD then tries to set its attributes.
CHANGES = {
    "function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x03\x00\x00\x00abcK\x01sb.",
    "slots": b"\x80\x02ctorch._utils\n_rebuild_parameter\nN}X\x0c\x00\x00\x00__defaults__)s"
    b"\x86b.",
    "class": b"\x80\x02ccollections\nOrderedDict\nN}X\x03\x00\x00\x00getK\x01s\x86b.",
    "dtype": b"\x80\x02ctorch\nFloatStorage\n}X\x03\x00\x00\x00abcK\x01sb.",
    "inert class": b"\x80\x02cmodule\nName\n}X\x03\x00\x00\x00abcK\x01sb.",
}


@pytest.mark.parametrize("target", CHANGES)
def test_a_pickle_cannot_change_what_it_names(tmp_path, target):
    """Setting attributes of our functions and classes through BUILD is refused."""
    path = archive_of(tmp_path / "evil.pt", CHANGES[target])

    with pytest.raises(EdgeError, match="cannot be read as PyTorch weights"):
        read_torch_file(path)


def test_a_pickle_cannot_reserve_memory(tmp_path):
    """A memo number of four billion in a file of a few bytes is refused."""
    data = b"\x80\x02}r" + struct.pack("<I", 2**32 - 1) + b"."

    with pytest.raises(EdgeError, match="asks for more memory"):
        read_torch_file(archive_of(tmp_path / "evil.pt", data))


def test_a_tensor_cannot_be_larger_than_its_bytes(tmp_path):
    """A tensor of a billion equal values in four bytes is not unfolded."""
    path = tmp_path / "evil.pt"
    torch.save({"weight": torch.zeros(1).expand(10**9)}, path)

    with pytest.raises(EdgeError, match="cannot be read as PyTorch weights"):
        read_torch_file(path)


def test_a_compressed_archive_is_refused(tmp_path):
    """A zip bomb needs compression, which torch.save never uses."""
    path = archive_of(tmp_path / "a.pt", b"\x80\x02}." * 999, compression=zipfile.ZIP_DEFLATED)

    with pytest.raises(EdgeError, match="is a compressed zip file"):
        read_torch_file(path)


def test_modules_that_contain_themselves_end(tmp_path):
    """A module that is its own child is refused, not followed for ever."""
    root = torch.nn.Module()
    root.yaml = {}
    root._modules["again"] = root
    path = tmp_path / "evil.pt"
    torch.save({"model": root}, path)

    with pytest.raises(EdgeError, match="holds more than"):
        load_detector(str(path))


OTHER_FILES = {
    "empty": (b"", "is empty"),
    "web page": (b"\n<!DOCTYPE html><html>", "is a web page"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer"),
    "old format": (pickle.dumps({"a": 1}), "a plain pickle"),
    "picture": (b"\x89PNG\r\n\x1a\n", "is no PyTorch weights file"),
    "cut zip": (b"PK\x03\x04abc", "cannot be read as PyTorch weights"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_other_files_are_told_apart(tmp_path, kind):
    """A file that is no weights file is named for what it is."""
    content, message = OTHER_FILES[kind]
    path = tmp_path / "weights.pt"
    path.write_bytes(content)

    with pytest.raises(EdgeError, match=message):
        load_detector(str(path))


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_an_error(ultralytics_checkpoint, kept):
    """However much of a copy arrived, a part is not taken for the whole."""
    data = ultralytics_checkpoint.read_bytes()
    ultralytics_checkpoint.write_bytes(data[: int(len(data) * kept)])

    with pytest.raises(EdgeError, match="cannot be read as PyTorch weights"):
        load_detector(str(ultralytics_checkpoint))


def test_a_flipped_byte_is_an_error(ultralytics_checkpoint):
    """The checksums of the archive are checked."""
    data = bytearray(ultralytics_checkpoint.read_bytes())
    data[len(data) // 2] ^= 0xFF
    ultralytics_checkpoint.write_bytes(data)

    with pytest.raises(EdgeError, match="cannot be read as PyTorch weights"):
        load_detector(str(ultralytics_checkpoint))


def test_values_are_those_of_pytorch(tmp_path):
    """Tensors of every kind, and views of a shared storage, equal what torch.load gives."""
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        "view": base[1:, ::2].t(),
        "same": base,
        "half": base.half(),
        "bfloat": base.bfloat16(),
        "whole": torch.tensor(7),
        "truth": torch.tensor([True, False]),
        "none": torch.zeros(0, 4),
        "weight": torch.nn.Parameter(base.double()),
    }
    path = tmp_path / "values.pth"
    torch.save(content, path)

    read = read_torch_file(path)

    expected = torch.load(path, weights_only=True)
    assert read.keys() == expected.keys()
    for name, tensor in expected.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_objects_only_keep_their_state(tmp_path):
    """A module of the file comes back as its attributes, without its class."""
    path = tmp_path / "module.pt"
    torch.save(torch.nn.Linear(2, 3), path)

    read = read_torch_file(path)

    assert isinstance(read, Inert)
    assert type(read).__mro__[1:] == (Inert, object)
    assert read.in_features == 2
