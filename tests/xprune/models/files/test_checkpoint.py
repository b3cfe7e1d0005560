"""A checkpoint rebuilds the detector alone, and is not trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from runtime_bench.errors import EdgeError, UsageError
from xprune.layers.substitutes import Replacement
from xprune.layers.surgery import apply_plan
from xprune.models.detector import Detector
from xprune.models.families import YOLO
from xprune.models.files.checkpoint import read_checkpoint, save_checkpoint
from xprune.models.load import load_detector

NAMES = ("cat", "dog", "owl")
REPLACEMENT = Replacement("model.2", "linear", 16, 16)


@pytest.fixture
def detector(network: torch.nn.Module, architecture: dict[str, Any]) -> Detector:
    """The small detector."""
    return Detector(network, "small", "yolo", NAMES, 16, architecture, "AGPL-3.0", None)


@pytest.fixture
def saved(tmp_path: Path, detector: Detector) -> Path:
    """Its checkpoint."""
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, detector, {"made by": "a test"}, imgsz=(64, 96))
    return path


def rewrite(path: Path, **changes: str | None) -> None:
    """Change texts of the header; None removes one."""
    state = load_file(path)
    header = read_header(path)
    header.update({key: value for key, value in changes.items() if value is not None})
    save_file(state, path, {k: v for k, v in header.items() if changes.get(k, v) is not None})


def read_header(path: Path) -> dict[str, str]:
    """Read the metadata as the format says: a length, then JSON."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata: dict[str, str] = header["__metadata__"]
    return metadata


def test_a_round_trip(saved, detector):
    """What was saved comes back: tensors bit by bit, names, size and licence."""
    loaded = load_detector(str(saved))
    content = read_checkpoint(saved)

    assert (loaded.names, loaded.licence, loaded.stride) == (NAMES, "AGPL-3.0", 16)
    assert (content.imgsz, content.plan, content.extra) == ((64, 96), [], {"made by": "a test"})
    expected = detector.network.state_dict()
    assert all(torch.equal(t, expected[k]) for k, t in loaded.network.state_dict().items())


def test_half_precision(tmp_path, saved, detector):
    """Half the bits, half the size; loaded in float32 again."""
    path = tmp_path / "half.safetensors"

    save_checkpoint(path, detector, half=True)

    weight = load_detector(str(path)).network.get_parameter("model.0.conv.weight")
    expected = detector.network.get_parameter("model.0.conv.weight").half().float()
    assert path.stat().st_size < 0.6 * saved.stat().st_size
    assert torch.equal(weight, expected)


def test_a_pruned_detector(tmp_path, detector, architecture):
    """The plan in the header is enough to rebuild a network with substitutes."""
    pruned = apply_plan(detector.network, [REPLACEMENT])
    path = tmp_path / "pruned.safetensors"
    plan = (REPLACEMENT.to_json(),)
    whole = Detector(pruned, "p", "yolo", NAMES, 16, architecture, "AGPL-3.0", None, plan=plan)
    save_checkpoint(path, whole)

    loaded = load_detector(str(path))

    image = torch.rand(1, 3, 64, 64)
    assert loaded.plan == plan
    assert torch.equal(YOLO.decoded(loaded.network)(image), YOLO.decoded(pruned)(image))
    assert not any(m.training for m in loaded.network.modules())
    assert not any(p.requires_grad for p in loaded.network.parameters())
    with pytest.raises(UsageError, match="brings its own architecture"):
        load_detector("yolov8n", weights=str(path))


def test_values_beyond_16_bits_are_not_written(tmp_path, architecture):
    """A number that half precision cannot hold stops the writing; no file appears."""
    network = YOLO.build_network(architecture)
    network.get_buffer("model.0.bn.running_var").fill_(1e6)
    whole = Detector(network, "x", "yolo", NAMES, 16, architecture, "AGPL-3.0", None)
    path = tmp_path / "half.safetensors"

    with pytest.raises(EdgeError, match=r"values of model\.0\.bn\.running_var are not finite"):
        save_checkpoint(path, whole, half=True)

    assert not path.exists()


EVIL_ACTIVATION = "open('made', 'w')"
FAULTS: dict[str, tuple[dict[str, str | None], str]] = {
    "another program": ({"format": "other"}, "is no checkpoint of xprune-edge"),
    "a newer version": ({"version": "2"}, "is a checkpoint of version 2"),
    "a lost key": ({"names": None}, "lacks names"),
    "an unknown key": ({"hook": "x"}, "has unknown hook"),
    "no JSON": ({"plan": "[{"}, "'plan' in .* is no JSON"),
    "deep JSON": ({"extra": "[" * 100_000}, "'extra' in .* is no JSON"),
    "NaN": ({"plan": "[NaN]"}, "'plan' in .* is no JSON"),
    "plan of texts": ({"plan": '["model.2"]'}, "is no list of steps"),
    "plan of another": ({"plan": '[{"layer": "model.2"}]'}, "bad entry"),
    "negative size": ({"imgsz": "[-1, 64]"}, r"is not \[height, width\]"),
    "fewer names": ({"names": '["cat"]'}, "3 classes, but 1 names"),
    "no architecture": ({"architecture": "[]"}, "is no YOLO architecture"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_forged_header_is_refused(saved, fault):
    """Every part of the header is checked, and the error names the file."""
    changes, message = FAULTS[fault]
    rewrite(saved, **changes)

    with pytest.raises(EdgeError, match=message) as error:
        load_detector(str(saved))

    assert "\n" not in str(error.value)


def test_an_activation_in_the_header_is_not_run(saved, architecture, tmp_path, monkeypatch):
    """The architecture of a checkpoint goes through the same check as a YAML."""
    monkeypatch.chdir(tmp_path)
    rewrite(saved, architecture=json.dumps({**architecture, "activation": EVIL_ACTIVATION}))

    with pytest.raises(EdgeError, match=r"activation .* is not allowed"):
        load_detector(str(saved))

    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kept", [0, 4, 300, -1])
def test_a_truncated_checkpoint(saved, kept):
    """A part of a file is not taken for the whole."""
    saved.write_bytes(saved.read_bytes()[:kept])

    with pytest.raises(EdgeError, match="cannot be read as a checkpoint"):
        load_detector(str(saved))


def test_tensors_of_others(tmp_path):
    """A safetensors file of another program is told apart."""
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)

    with pytest.raises(EdgeError, match="is no checkpoint of xprune-edge"):
        load_detector(str(path))
