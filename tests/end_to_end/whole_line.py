"""The commands of the whole line, one after the other, and what they leave beside PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from exporters.detection_parity import compare_detections
from runtime_bench.artifact.detector import load, read_answer
from runtime_bench.artifact.preprocess import prepare, read_picture
from tests.cli.commands import run
from xprune.models.families import MODELS
from xprune.models.load import load_detector

SCENES = "out/scenes/test-8"
COMPARED = 4


def line_without(layers: int, *options: str) -> tuple[dict[str, Any], str]:
    """List, score, plan, cut, export and measure in `out`; all must end well.

    Args:
        layers: How many go.
        options: The model and how it is read; more for the run.

    Returns:
        The artifact's manifest, and the list of layers.
    """
    few = ("--data", "builtin", "--images", "8", "--calibration-images", "8")
    how = ("--substitute", "linear", "--conf", "0.001", "--threads", "1", "--out", "out")
    model = options[: options.index("--imgsz") + 2]
    ends = [
        run("layers", *model),
        run("attribute", *options, *few, "--layers", str(layers), *how),
        *(run(stage, "--out", "out") for stage in ("plan", "prune", "export")),
        run("bench", "out/artifact", "--data", f"{SCENES}/instances.json"),
    ]
    assert [done.exit_code for done in ends] == [0] * len(ends), ends[-1].output
    return json.loads(Path("out/artifact/manifest.json").read_text()), ends[0].output


def check_against_pytorch() -> None:
    """The pruned artifact in `out` finds on its scenes what the pruned network does."""
    detector = load_detector("out/pruned.safetensors")
    family = MODELS[detector.family]
    artifact = load(Path("out/artifact"), threads=1, min_score=0.0)
    decoded = family.decoded(detector.network)
    for path in sorted(Path(SCENES, "images").iterdir())[:COMPARED]:
        image, _ = prepare(read_picture(path), artifact.manifest.input)
        with torch.no_grad():
            raw = decoded(torch.from_numpy(image)[None])[0].numpy()
        found = read_answer(artifact.session.run(image[None]), artifact.manifest)
        # It raises where more differs than rounding explains.
        parity = compare_detections(
            raw,
            found,
            decoder=family.decoder,
            output=artifact.manifest.output,
            probe=path.name,
        )
        assert parity.compared > 0
        assert parity.max_box_difference_px < 1
        assert parity.max_score_difference < 1e-3
