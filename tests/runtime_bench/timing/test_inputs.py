"""What timed runs see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from runtime_bench.artifact.manifest import InputSpec
from runtime_bench.timing.inputs import timed_inputs


def test_images_in_memory_are_few(tmp_path: Path) -> None:
    """At most 50 pictures, and at most 64 MiB of them; always one."""
    picture = tmp_path / "red.png"
    Image.new("RGB", (96, 48), "red").save(picture)
    paths = [picture] * 60

    assert len(timed_inputs(paths, InputSpec(size=(32, 64)))) == 50
    assert len(timed_inputs(paths, InputSpec(size=(1024, 1024)))) == 5
    assert timed_inputs(paths, InputSpec(size=(32, 64)))[0].shape == (1, 3, 32, 64)


def test_without_pictures_one_is_made_up() -> None:
    """It is grey on the left, and its right half makes a detector work."""
    (image,) = timed_inputs([], InputSpec(size=(32, 64)))

    assert (image.shape, image.dtype) == ((1, 3, 32, 64), np.float32)
    assert np.ptp(image[..., :32]) == 0
    assert np.ptp(image[..., 32:]) > 0.9
