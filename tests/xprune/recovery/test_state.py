"""A training's state is data: what comes back is what was written, or one line says why not."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from runtime_bench.errors import EdgeError
from xprune.recovery.state import Progress, read_state, write_state

TENSORS = {
    "network.weight": torch.arange(6.0).reshape(2, 3),
    "network.count": torch.tensor(4),
    "step.weight": torch.tensor(7.0),
}
PROGRESS = Progress(step=7, elapsed_s=1 / 3, start_loss=2.5, best_loss=-0.1, checks=2)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state that is whole."""
    path = tmp_path / "state.safetensors"
    write_state(path, "key", PROGRESS, tensors=TENSORS)
    return path


def test_what_was_written_comes_back(state: Path):
    """Numbers and tensors to the last bit."""
    found = read_state(state, "key", TENSORS)

    assert found is not None
    assert found[0] == PROGRESS
    assert found[1].keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(found[1][name], tensor)


def test_no_file_and_another_key_are_no_state(state: Path, tmp_path: Path):
    """Then a training begins at its beginning."""
    assert read_state(tmp_path / "none", "key", TENSORS) is None
    assert read_state(state, "other", TENSORS) is None


def rewritten(state: Path, changes: dict[str, Any], **metadata: str) -> None:
    """Write the state anew with other tensors or another header."""
    header = {
        "format": "xprune-edge training",
        "version": "1",
        "key": "key",
        "progress": json.dumps(vars(PROGRESS)),
        **metadata,
    }
    tensors = {**load_file(state), **changes}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, state, header)


NUMBERS = json.dumps(vars(PROGRESS))


@pytest.mark.parametrize(
    ("changes", "metadata", "reason"),
    [
        ({}, {"format": "something"}, "it is no state of a training"),
        ({}, {"version": "2"}, "it is no state of a training"),
        ({}, {"progress": "{"}, "its progress is no JSON"),
        ({}, {"progress": "[" * 100_000}, "its progress is no JSON"),
        ({}, {"progress": "[]"}, "its progress lacks numbers"),
        ({}, {"progress": '{"step": 3}'}, "its progress lacks numbers"),
        ({}, {"progress": NUMBERS.replace("7", "true")}, "its step is no such number"),
        ({}, {"progress": NUMBERS.replace("7", "-7")}, "its step is no such number"),
        ({}, {"progress": NUMBERS.replace("2.5", "NaN")}, "its start_loss is no such number"),
        ({}, {"progress": NUMBERS.replace("2.5", '"2"')}, "its start_loss is no such number"),
        ({"more": torch.zeros(1)}, {}, "it lacks more, or should not have it"),
        ({"network.weight": None}, {}, r"it lacks network\.weight"),
        ({"network.weight": torch.zeros(3, 2)}, {}, "of another kind"),
        ({"network.weight": torch.zeros(2, 3).half()}, {}, "of another kind"),
        ({"network.weight": torch.full((2, 3), torch.inf)}, {}, "not finite"),
    ],
)
def test_a_changed_state_is_refused(state: Path, changes, metadata, reason):
    """Whoever changed it, nothing of it is used; the line says which file to remove."""
    rewritten(state, changes, **metadata)

    with pytest.raises(EdgeError, match=reason) as error:
        read_state(state, "key", TENSORS)

    assert str(error.value).startswith(f"{state} cannot be gone on from")
    assert "\n" not in str(error.value)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "sprung"))


def test_a_pickle_is_never_run(state: Path, tmp_path: Path):
    """A file of another kind under the name of a state is refused, not opened."""
    state.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))

    with pytest.raises(EdgeError, match="cannot be gone on from"):
        read_state(state, "key", TENSORS)

    assert not (tmp_path / "sprung").exists()


def test_half_a_file_is_refused(state: Path):
    """As a disk that is full might leave it elsewhere."""
    state.write_bytes(state.read_bytes()[:-5])

    with pytest.raises(EdgeError, match="cannot be gone on from"):
        read_state(state, "key", TENSORS)
