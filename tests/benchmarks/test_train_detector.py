"""The training of a detector to measure on, on a few tiny steps."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from runtime_bench.data.dataset import Picture
from tests.benchmarks.train_detector import (
    TRAINING,
    Recipe,
    Trainer,
    in_full,
    new_detector,
    read_training,
)
from xprune.builtin.train import resume, save_state
from xprune.data.pool import PicturePool

pytestmark = pytest.mark.needs_torch

TINY = Recipe(
    model="ssdlite320_mobilenet_v3_large",
    data="bccd",
    imgsz=(64, 64),
    final_imgsz=(64, 96),
    steps=2,
    final_steps=2,
    batch=2,
    rate=1e-3,
    bfloat16=False,
    seed=0,
)
NAMES = ("round", "square")


def pictures(count: int = 3) -> PicturePool:
    """Return noise with one box on each picture."""
    noise = np.random.default_rng(0).integers(0, 256, (count, 3, 48, 64), dtype=np.uint8)
    found = tuple(
        Picture(
            name=f"{index}",
            path=Path(f"{index}.jpg"),
            size=(48, 64),
            boxes=np.array([[4, 4, 40, 40]], np.float32),
            labels=np.array([index % 2], np.int64),
            crowd=np.zeros(1, np.bool_),
        )
        for index in range(count)
    )
    kept = {index: torch.from_numpy(pixels) for index, pixels in enumerate(noise)}
    return PicturePool(found, longest_px=64, kept=kept)


def trainer() -> Trainer:
    """Return a training that has not begun."""
    return Trainer(TINY, new_detector(TINY, NAMES), pictures())


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(tmp_path: Path):
    """Two steps, a stop, and two more at the final size give the weights of four in a row."""
    whole, first, second = trainer(), trainer(), trainer()
    for _ in range(4):
        whole.step()
    for _ in range(2):
        first.step()
    save_state(tmp_path / "state.pt", first.training, TINY)
    resume(tmp_path / "state.pt", second.training, TINY)
    for _ in range(2):
        second.step()

    expected = whole.trained().network.state_dict()
    for name, value in second.trained().network.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_a_step_changes_weights_and_the_statistics_of_normalisations():
    """Batch norm learns, which a recovery leaves alone."""
    one = trainer()
    before = {name: value.clone() for name, value in one.training.network.state_dict().items()}
    one.step()
    after = one.training.network.state_dict()

    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert any(name.endswith("running_mean") for name in changed)
    assert any(name.endswith("weight") for name in changed)


def test_the_rate_rises_and_falls():
    """It rises to the highest one in a line, and ends near nothing."""
    recipe = Recipe(**asdict(TINY) | {"steps": 900, "final_steps": 100})
    rates = [recipe.rate_at(step) for step in range(recipe.all_steps)]

    assert max(rates) == pytest.approx(recipe.rate, rel=1e-3)
    assert rates == [*sorted(rates[:100]), *sorted(rates[100:], reverse=True)]
    assert rates[-1] < recipe.rate / 50


def test_losses_are_computed_in_32_bits():
    """Whatever is nested; whole numbers stay what they are."""
    half = torch.ones(2, dtype=torch.bfloat16)
    found = in_full({"scores": half, "feats": [half], "at": torch.ones(1, dtype=torch.int64)})

    assert found["scores"].dtype == found["feats"][0].dtype == torch.float32
    assert found["at"].dtype == torch.int64


def test_a_recipe_is_read_as_it_was_written(tmp_path: Path):
    """A benchmark finds out from the folder what was trained, and on what."""
    (tmp_path / TRAINING).write_text(json.dumps({"recipe": asdict(TINY)}))

    assert read_training(tmp_path) == TINY
