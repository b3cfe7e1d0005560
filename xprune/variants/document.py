"""`variants.json`: which sizes and precisions were looked at, and which one was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from runtime_bench.errors import EdgeError
from runtime_bench.files import read_json, write_json
from runtime_bench.json_fields import JsonFields
from runtime_bench.machine.description import describe_machine
from xprune.config import PRECISIONS, options_until
from xprune.stages.workbench import Workbench
from xprune.variants.variant import Measured, Variant

FORMAT = "xprune-edge variants"
VERSION = 1


def settings_of(bench: Workbench) -> dict[str, object]:
    """Return what a choice holds for: every option up to the cut, and the machine."""
    machine = describe_machine()
    options = bench.run.config.to_json()
    return {
        "options": {name: options[name] for name in options_until("prune")},
        "weights_sha256": bench.detector.weights_sha256,
        **{name: machine.get(name) for name in ("cpu", "cores_available", "onnxruntime")},
    }


def write_variants(
    path: Path,
    settings: dict[str, object],
    chosen: Variant,
    measured: Sequence[Measured],
    *,
    goal: float,
) -> None:
    """Write what was looked at, and what was chosen."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "settings": settings,
        "latency_ratio_wanted": goal,
        "chosen": asdict(chosen),
        "variants": [asdict(one) for one in measured],
    }
    write_json(path, content)


def read_chosen(path: Path, settings: dict[str, object]) -> Variant | None:
    """Return the variant that a file says was chosen; None if it was for other settings.

    Raises:
        EdgeError: If the file is not as it was written.
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise EdgeError(f"{path} does not list variants; remove it to have them tried again")
    if document.get("version") != VERSION:
        raise EdgeError(f"{path} has version {document.get('version')}; remove it")
    if document.get("settings") != settings:
        return None
    fields = JsonFields(document.get("chosen"), source=f"'{path}'")
    height, width = fields.integers("size", count=2, least=1, most=65_536)
    return Variant((height, width), fields.text("precision", choices=PRECISIONS))
