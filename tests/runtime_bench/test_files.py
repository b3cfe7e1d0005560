"""Files appear complete or not at all, and errors name them."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime_bench.errors import EdgeError
from runtime_bench.files import (
    atomic_folder,
    read_json,
    remove_leftovers,
    sha256_of,
    write_bytes,
    write_json,
    write_text,
)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def names_in(folder: Path) -> list[str]:
    """Return the sorted names of what lies in a folder."""
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def full_disk(monkeypatch):
    """Let every flush to the disk fail as it does on a full one."""

    def no_space(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)


def test_a_written_file_is_complete_and_alone(tmp_path):
    """The bytes are there, parents are made, and no temporary file is left."""
    path = tmp_path / "a" / "b.bin"

    write_bytes(path, b"\x00\xff")

    assert path.read_bytes() == b"\x00\xff"
    assert names_in(path.parent) == ["b.bin"]


def test_a_full_disk_leaves_the_old_file(tmp_path, full_disk):
    """The error names path, cause and way out; the old content stays; nothing else is left."""
    path = tmp_path / "result.json"
    path.write_text("old")

    with pytest.raises(EdgeError) as caught:
        write_text(path, "new")

    assert str(caught.value) == (
        f"cannot write '{path}': no space left on device; "
        "free some space or choose another place"
    )
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["result.json"]


def test_a_parent_that_is_a_file_is_named(tmp_path):
    """A path through a file is refused in one line."""
    (tmp_path / "file").write_text("")

    with pytest.raises(EdgeError, match=r"cannot write '.*/file/x\.json'"):
        write_json(tmp_path / "file" / "x.json", {})


@given(value=JSON_VALUES)
def test_json_comes_back_as_it_was_written(tmp_path_factory, value):
    """Every JSON value, lone surrogates included, survives the file."""
    path = tmp_path_factory.mktemp("json") / "value.json"

    write_json(path, value)

    assert read_json(path) == value


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a": 1,\n "b": }', "is not valid JSON: Expecting value at line 2, column 7"),
        (b"", "is not valid JSON: Expecting value at line 1, column 1"),
        (b'{"a": NaN}', "is not valid JSON: NaN is not a JSON number"),
        (b"[-Infinity]", "is not valid JSON: -Infinity is not a JSON number"),
        (b'"caf\xe9"', "is not UTF-8 text (byte 4)"),
        (b"[" * 200_000, "is nested too deeply to be read"),
    ],
)
def test_what_is_no_json_is_named_with_its_place(tmp_path, content, problem):
    """A damaged file gives its name and what is wrong where."""
    path = tmp_path / "bad.json"
    path.write_bytes(content)

    with pytest.raises(EdgeError) as caught:
        read_json(path)

    assert str(caught.value) == f"'{path}' {problem}"


def test_a_number_with_too_many_digits_is_refused(tmp_path):
    """Python refuses to read it, and so do we, in one line."""
    path = tmp_path / "bad.json"
    path.write_bytes(b"1" * 10_000)

    with pytest.raises(EdgeError, match=r"'.*bad\.json' is not valid JSON"):
        read_json(path)


@pytest.mark.parametrize("read", [read_json, sha256_of])
def test_a_missing_file_is_named(tmp_path, read):
    """The error says which file does not exist."""
    with pytest.raises(EdgeError, match=r"'.*/none' does not exist"):
        read(tmp_path / "none")


def test_a_folder_is_no_file(tmp_path):
    """Reading a folder says so."""
    with pytest.raises(EdgeError, match=r"cannot read '.*': is a directory"):
        read_json(tmp_path)


def test_sha256_is_that_of_the_bytes(tmp_path):
    """The digest of a file longer than one chunk is that of all its bytes."""
    data = bytes(range(256)) * 5000
    (tmp_path / "data").write_bytes(data)

    assert sha256_of(tmp_path / "data") == hashlib.sha256(data).hexdigest()


def test_a_folder_appears_as_a_whole(tmp_path):
    """Inside the block the final name is not there yet; afterwards only it is."""
    path = tmp_path / "artifact"

    with atomic_folder(path) as folder:
        (folder / "model").write_text("m")
        assert not path.exists()

    assert names_in(tmp_path) == ["artifact"]
    assert (path / "model").read_text() == "m"


def test_a_folder_replaces_the_old_one(tmp_path):
    """Nothing of the old folder is mixed into the new one."""
    path = tmp_path / "artifact"
    path.mkdir()
    (path / "old").write_text("o")

    with atomic_folder(path) as folder:
        (folder / "new").write_text("n")

    assert names_in(tmp_path) == ["artifact"]
    assert names_in(path) == ["new"]


def test_an_error_leaves_the_old_folder(tmp_path):
    """When the block fails, the folder is as it was, and nothing is left beside it."""
    path = tmp_path / "artifact"
    path.mkdir()
    (path / "old").write_text("o")

    def stop_halfway():
        with atomic_folder(path) as folder:
            (folder / "new").write_text("n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_halfway()

    assert names_in(tmp_path) == ["artifact"]
    assert names_in(path) == ["old"]


def test_a_full_disk_inside_the_block_names_the_folder(tmp_path):
    """Whichever file met the full disk, the error names the folder that was asked for."""
    path = tmp_path / "artifact"

    with pytest.raises(EdgeError) as caught, atomic_folder(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/inner/file")

    assert str(caught.value).startswith(f"cannot write '{path}': no space left on device;")
    assert names_in(tmp_path) == []


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    """A file under the folder's name is an error, and stays."""
    path = tmp_path / "artifact"
    path.write_text("mine")

    with pytest.raises(EdgeError, match="is a file"), atomic_folder(path):
        pass

    assert path.read_text() == "mine"


def test_a_killed_run_leaves_nothing_under_the_final_name(tmp_path):
    """After `kill -9` the name is free, and the leftovers go with the next clean-up."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from runtime_bench.files import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'model').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[2]

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "artifact")],
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )

    assert done.returncode == -9
    assert len(names_in(tmp_path)) == 1
    assert not (tmp_path / "artifact").exists()
    remove_leftovers(tmp_path)
    assert names_in(tmp_path) == []


def test_leftovers_of_a_living_process_stay(tmp_path):
    """What another run is writing right now is not touched, nor is any other hidden file."""
    (tmp_path / f".a.partial-{os.getpid()}").write_text("")
    (tmp_path / ".hidden").write_text("")

    remove_leftovers(tmp_path)

    assert names_in(tmp_path) == [f".a.partial-{os.getpid()}", ".hidden"]
