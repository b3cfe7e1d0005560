"""The training of the built-in detector, on a few tiny steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

from xprune.builtin import train
from xprune.builtin.pool import draw_pool
from xprune.builtin.scenes import CLASS_NAMES

pytestmark = pytest.mark.needs_torch

TINY = train.Settings(
    steps=4, final_steps=1, batch=2, size_px=64, final_size_px=64, seed=0, pool=4
)


@pytest.fixture(autouse=True)
def _settings_of_ultralytics_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_AUTOINSTALL", "False")
    monkeypatch.setenv("YOLO_OFFLINE", "True")


def test_the_architecture_is_stock_yolov8():
    """Layers and connections are Ultralytics' own yolov8.yaml; only the scale is ours."""
    import ultralytics
    import yaml

    stock = Path(ultralytics.__file__).parent / "cfg" / "models" / "v8" / "yolov8.yaml"
    expected = yaml.safe_load(stock.read_text())

    assert train.ARCHITECTURE["backbone"] == expected["backbone"]
    assert train.ARCHITECTURE["head"] == expected["head"]


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(tmp_path: Path):
    """Two steps, a stop, and two more give the weights of four steps in a row."""
    pool = draw_pool(range(TINY.pool), seed=1, size_px=TINY.size_px)
    whole = train.start_training(0)
    for _ in range(4):
        train.train_step(whole, pool, TINY)

    first, second = train.start_training(0), train.start_training(1)
    for _ in range(2):
        train.train_step(first, pool, TINY)
    train.save_state(tmp_path / "state.pt", first, TINY)
    train.resume(tmp_path / "state.pt", second, TINY)
    for _ in range(2):
        train.train_step(second, pool, TINY)

    assert second.step == 4
    expected = whole.average.state_dict()
    for name, value in second.average.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)


def test_a_training_with_other_settings_is_not_resumed(tmp_path: Path):
    """The message names the file, the other settings, and what to do."""
    out = tmp_path / "a.safetensors"
    train.save_state(tmp_path / "a.training.pt", train.start_training(0), TINY)

    result = CliRunner().invoke(train.main, ["--out", str(out), "--steps", "5"])

    assert result.exit_code == 1
    assert "a.training.pt belongs to a training with other settings" in result.output
    assert not out.exists()


def test_the_command_leaves_weights_that_ultralytics_loads(tmp_path: Path):
    """After the last step there is one small file, and it fits the network it describes."""
    out = tmp_path / "tiny.safetensors"
    options = [
        "--steps",
        "1",
        "--final-steps",
        "1",
        "--batch",
        "2",
        "--size",
        "64",
        "--final-size",
        "96",
        "--pool",
        "2",
        "--threads",
        "1",
    ]
    result = CliRunner().invoke(
        train.main, ["--out", str(out), *options], catch_exceptions=False
    )

    assert result.exit_code == 0
    assert not (tmp_path / "tiny.training.pt").exists()
    _assert_loads(out, size_px=96)


def test_the_shipped_weights_fit_the_architecture():
    """The committed file is at most 4 MB and holds exactly the tensors of the network."""
    shipped = Path(train.__file__).with_name("detector.safetensors")

    assert shipped.stat().st_size <= 4_000_000
    _assert_loads(shipped, size_px=256)


def _assert_loads(path: Path, *, size_px: int) -> None:
    from ultralytics.nn.tasks import DetectionModel

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert metadata["format"] == "xprune-edge checkpoint"
    assert metadata["version"] == "1"
    assert metadata["licence"] == "AGPL-3.0"
    assert metadata["plan"] == "[]"
    assert json.loads(metadata["imgsz"]) == [size_px, size_px]
    assert json.loads(metadata["names"]) == list(CLASS_NAMES)
    network = DetectionModel(json.loads(metadata["architecture"]), verbose=False)
    network.load_state_dict(tensors, strict=True)
    assert all(t.dtype == torch.float16 for t in tensors.values() if t.is_floating_point())


def test_the_rate_rises_then_falls_twice():
    """After the warm-up it falls; at the final size it falls again, to a small last rate."""
    settings = replace(TINY, steps=7500, final_steps=1200)
    rates = [train.learning_rate(step, settings) for step in range(settings.all_steps)]

    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:7500] == sorted(rates[peak:7500], reverse=True)
    assert rates[7499] < rates[7500] < max(rates)
    assert rates[7500:] == sorted(rates[7500:], reverse=True)
    assert rates[-1] < max(rates) / 50
