"""Pictures of what both models found, however much that is."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from runtime_bench.artifact.detections import NO_DETECTIONS
from xprune.explain.pictures import Example, draw_pair


def test_a_picture_that_compresses_badly_is_drawn():
    """Noise, as hundreds of boxes over each other nearly are, takes over a byte a pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)

    pair = draw_pair(Example("n", noise, NO_DETECTIONS, NO_DETECTIONS), (), min_score=0.5)

    for panel in pair.panels:
        content = base64.b64decode(panel.uri.partition(",")[2])
        height, width = panel.size
        assert len(content) > height * width
        assert Image.open(io.BytesIO(content)).size == (width, height)
