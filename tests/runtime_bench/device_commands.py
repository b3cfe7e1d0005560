"""The device's commands as tests call them, and a small data set for them."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from runtime_bench.cli import main

QUICK = ("--min-runs", "2", "--min-time", "0", "--threads", "1")


def write_coco(folder: Path, *, bbox: list[float]) -> None:
    """Write the JSON; the box of the second picture is `bbox`."""
    images = [
        {"id": index, "file_name": name, "height": 64, "width": 128}
        for index, name in enumerate(("a.png", "b.png"))
    ]
    annotations = [
        {"id": index, "image_id": index, "category_id": 4, "bbox": box}
        for index, box in enumerate(([16, 8, 32, 32], bbox))
    ]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 4, "name": "square"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))


def run(*arguments: object) -> Result:
    """Run the command with arguments, outputs apart."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])
