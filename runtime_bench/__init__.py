"""Run, time and score an exported detector on the device: no torch, no onnx.

`runtime_bench.load(artifact)(picture)` answers with the detections of one picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from runtime_bench.artifact.detector import Detector

__all__ = ["load"]


def load(
    artifact: Path | str, *, threads: int | None = None, min_score: float | None = None
) -> Detector:
    """Open an artifact for use from Python; see `runtime_bench.artifact.detector.load`."""
    # onnxruntime takes a quarter of a second to import, and `--help` has no use for it.
    from runtime_bench.artifact import detector

    return detector.load(artifact, threads=threads, min_score=min_score)
